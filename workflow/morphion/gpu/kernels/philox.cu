// Philox 4x32-10, as morphion/philox.py: Salmon et al., SC'11 (2011), doi:10.1145/2063384.2063405.

struct Words {
    unsigned w0, w1, w2, w3;
};

__device__ __forceinline__ Words philox4x32(
    unsigned c0, unsigned c1, unsigned c2, unsigned c3, unsigned k0, unsigned k1)
{
    for (int round = 0; round < 10; ++round) {
        unsigned long long product_0 = (unsigned long long)c0 * 0xD2511F53u;
        unsigned long long product_1 = (unsigned long long)c2 * 0xCD9E8D57u;
        c0 = (unsigned)(product_1 >> 32) ^ c1 ^ k0;
        c1 = (unsigned)product_1;
        c2 = (unsigned)(product_0 >> 32) ^ c3 ^ k1;
        c3 = (unsigned)product_0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {c0, c1, c2, c3};
}

// Uniform in [0, 1) with 53 random bits.
__device__ __forceinline__ double unit_interval(unsigned high, unsigned low)
{
    unsigned long long bits = ((unsigned long long)high << 21) ^ ((unsigned long long)low >> 11);
    return (double)bits * (1.0 / 9007199254740992.0);
}
