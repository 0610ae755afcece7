rule dataset:
    """Structures and labels of a set, appended to the round before and split anew."""
    input:
        structures=lambda w: shards_of(PATHS.structures, w.set),
        labels=lambda w: shards_of(PATHS.labels, w.set),
        previous=lambda w: dataset_before(w.set),
        # ancient() would spare data sets of the same labels a rerun, but Snakemake then overlooks
        # what else is due behind them.
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
        "exec morphion dataset --config {params.config} --threads {threads} {params.round}"
        " {params.previous} {params.structures} {params.labels} {output} 2> {log}"


if RUN.labelled is not None:

    ruleorder: unpack > dataset

    rule unpack:
        """Round 0 from a packed data set: nothing is generated or labelled."""
        input:
            packed=RUN.labelled,
        output:
            directory(PATHS.dataset(round_set(0))),
        log:
            PATHS.log("unpack", round_set(0)),
        benchmark:
            PATHS.benchmark("unpack", round_set(0))
        conda:
            ENVIRONMENT
        threads: 4
        params:
            config=PATHS.config(),
            # The packed file must be what this configuration would have made.
            depends=digest(
                [
                    depends_on("geometry", "transport", "split"),
                    RUN.labels.decisive(),
                    RUN.structures.decisive(),
                ]
            ),
        shell:
            "exec morphion unpack --config {params.config} --threads {threads}"
            " {input.packed} {output} 2> {log}"
