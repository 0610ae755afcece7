rule currents:
    """Exact currents between the particles of a part of a round's structures."""
    input:
        dataset=lambda w: PATHS.dataset(round_set(w.round)),
        table=getattr(RUN.transport, "path", []),
    output:
        directory(PATHS.currents("{round}", "{part}")),
    log:
        PATHS.log("currents", "round{round}-{part}"),
    benchmark:
        PATHS.benchmark("currents", "round{round}-{part}")
    conda:
        ENVIRONMENT
    threads: 1
    params:
        config=PATHS.config(),
        parts=lambda w: len(PLAN.shards(round_set(w.round))),
        depends=depends_on("geometry", "transport", "currents"),
    shell:
        "exec morphion currents --config {params.config} --dataset {input.dataset}"
        " --round {wildcards.round} --part {wildcards.part} --parts {params.parts}"
        " --threads {threads} {output} 2> {log}"
