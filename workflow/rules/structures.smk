rule structures:
    """The families of round 0; a shard can be rebuilt alone."""
    output:
        directory(PATHS.structures("round0", "{shard}")),
    log:
        PATHS.log("structures", "round0-{shard}"),
    benchmark:
        PATHS.benchmark("structures", "round0-{shard}")
    conda:
        ENVIRONMENT
    params:
        config=PATHS.config(),
        depends=depends_on("geometry", "structures"),
    shell:
        "exec morphion structures --config {params.config} --shard {wildcards.shard}"
        " {output} 2> {log}"
