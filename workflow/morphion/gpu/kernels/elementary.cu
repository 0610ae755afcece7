// Elementary functions with the same bits on every engine: morphion/elementary.py and
// morphion/kmc/exponential.py, operation by operation. Needs --fmad=false.

// e^x for x in [-700, 700].
__device__ __forceinline__ double exp_same(double x)
{
    x = x < -700.0 ? -700.0 : (x > 700.0 ? 700.0 : x);
    double shifted = x * 1.4426950408889634 + 6755399441055744.0;
    long long k = __double_as_longlong(shifted) - 0x4338000000000000LL;
    double rounded = shifted - 6755399441055744.0;
    double r = (x - rounded * 0.6931471803691238) - rounded * 1.9082149292705877e-10;
    double p = 1.6059043836821613e-10;
    p = p * r + 2.08767569878681e-09;
    p = p * r + 2.505210838544172e-08;
    p = p * r + 2.755731922398589e-07;
    p = p * r + 2.7557319223985893e-06;
    p = p * r + 2.48015873015873e-05;
    p = p * r + 0.0001984126984126984;
    p = p * r + 0.001388888888888889;
    p = p * r + 0.008333333333333333;
    p = p * r + 0.041666666666666664;
    p = p * r + 0.16666666666666666;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    return p * __longlong_as_double((k + 1023) << 52);
}

// -ln u with u = (word + 1/2) 2^-32.
__device__ __forceinline__ double exponential(unsigned word)
{
    unsigned long long bits = (unsigned long long)__double_as_longlong((double)word + 0.5);
    unsigned long long k_plus_1 = (bits - 0x3FE6A09E667F3BCDULL + (1ULL << 52)) >> 52;
    double f = __longlong_as_double((long long)(bits - (k_plus_1 << 52) + (1ULL << 52))) - 1.0;
    double p = 0.08722353747977278;
    p = p * f + -0.14366847394399132;
    p = p * f + 0.1495226932059419;
    p = p * f + -0.1656239269855143;
    p = p * f + 0.19956833266549615;
    p = p * f + -0.25002074074938335;
    p = p * f + 0.3333418563376619;
    p = p * f + -0.4999998796420423;
    p = p * f + 0.9999999741892873;
    return (double)(33 - (long long)k_plus_1) * 0.6931471805599453 - p * f;
}
