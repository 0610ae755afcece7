rule dataset:
    """Structures and labels of a set, appended to the round before and split anew."""
    input:
        structures=lambda w: shards_of(PATHS.structures, w.set),
        labels=lambda w: shards_of(PATHS.labels, w.set),
        previous=lambda w: dataset_before(w.set),
        verdict=lambda w: verdict_on(w.set),
    output:
        directory(PATHS.dataset("{set}")),
    log:
        PATHS.log("dataset", "{set}"),
    benchmark:
        PATHS.benchmark("dataset", "{set}")
    conda:
        ENVIRONMENT
    threads: 4
    params:
        config=PATHS.config(),
        depends=depends_on("geometry", "split"),
        structures=lambda w, input: [
            f"--structures={path}" for path in input.structures
        ],
        labels=lambda w, input: [f"--labels={path}" for path in input.labels],
        previous=lambda w, input: (
            f"--previous={input.previous}" if input.previous else ""
        ),
        round=lambda w: round_option(w.set),
    shell:
        "morphion dataset --config {params.config} --threads {threads} {params.round}"
        " {params.previous} {params.structures} {params.labels} {output} 2> {log}"
