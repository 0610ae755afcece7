rule label:
    """Cation diffusivity of every structure of a shard."""
    input:
        config=ancient(PATHS.config()),
        structures=PATHS.structures("{set}", "{shard}"),
    output:
        directory(PATHS.labels("{set}", "{shard}")),
    log:
        PATHS.log("label", "{set}-{shard}"),
    benchmark:
        PATHS.benchmark("label", "{set}-{shard}")
    conda:
        ENVIRONMENT
    threads: 16
    params:
        depends=depends_on("geometry", "transport", "labels"),
    shell:
        "morphion labels --config {input.config} --set {wildcards.set} --threads {threads}"
        " {input.structures} {output} 2> {log}"
