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
        # Those that a verdict draws are walked without a control variate.
        depends=lambda w: digest(
            [
                depends_on("geometry", "transport"),
                RUN.labels_of(w.set).decisive(),
                RUN.labels.control_variate and RUN.verdict.structures_per_shard,
            ]
        ),
    shell:
        "exec morphion labels --config {params.config} --set {wildcards.set} --threads {threads}"
        " {input.structures} {output} 2> {log}"


rule verdict:
    """Some labels of a shard beside the exact solution of the same lattice."""
    input:
        structures=PATHS.structures("{set}", "{shard}"),
        labels=PATHS.labels("{set}", "{shard}"),
        table=getattr(RUN.transport, "path", []),
    output:
        PATHS.verdict("{set}", "{shard}"),
    log:
        PATHS.log("verdict", "{set}-{shard}"),
    benchmark:
        PATHS.benchmark("verdict", "{set}-{shard}")
    conda:
        ENVIRONMENT
    threads: 16
    params:
        config=PATHS.config(),
        depends=digest(
            [RUN.seed, RUN.verdict.structures_per_shard, RUN.verdict.relative_residual]
        ),
    shell:
        "exec morphion verdict --config {params.config} --set {wildcards.set} --threads {threads}"
        " {input.structures} {input.labels} {output} 2> {log}"


rule judge:
    """Whether the labels of a set may be used; a failure stops the run here."""
    input:
        lambda w: shards_of(PATHS.verdict, w.set),
    output:
        PATHS.decision("{set}"),
    log:
        PATHS.log("verdict", "{set}"),
    retries: 0
    localrule: True
    conda:
        ENVIRONMENT
    params:
        config=PATHS.config(),
        depends=RUN.verdict.sigma,
    shell:
        "exec morphion judge --config {params.config} --set {wildcards.set} {input} {output} 2> {log}"
