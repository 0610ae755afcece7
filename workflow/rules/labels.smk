rule label:
    """Cation diffusivity of every structure of a shard."""
    input:
        structures=PATHS.structures("{set}", "{shard}"),
        table=getattr(RUN.transport, "path", []),
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
        config=PATHS.config(),
        depends=depends_on("geometry", "transport", "labels"),
    shell:
        "morphion labels --config {params.config} --set {wildcards.set} --threads {threads}"
        " {input.structures} {output} 2> {log}"
