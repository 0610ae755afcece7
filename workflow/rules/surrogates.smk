rule train:
    """A network from new weights on the data set of its round."""
    input:
        dataset=lambda w: PATHS.dataset(round_set(w.round)),
        currents=lambda w: [
            PATHS.currents(*store) for store in PLAN.currents(w.round, w.network)
        ],
    output:
        directory(PATHS.model("{round}", "{network}", "{split}")),
    log:
        PATHS.log("train", "round{round}-{network}-{split}"),
    benchmark:
        PATHS.benchmark("train", "round{round}-{network}-{split}")
    conda:
        ENVIRONMENT
    threads: lambda w: PLAN.threads(w.network, 8, training=True)
    resources:
        # One to each rank; a machine's or a profile's limit on it is theirs to set.
        gpu=lambda w: RUN.surrogates.network(w.network).training.ranks,
    params:
        config=PATHS.config(),
        depends=lambda w: digest([RUN.seed, trained(RUN.surrogates.network(w.network))]),
        currents=lambda w, input: [f"--currents={path}" for path in input.currents],
    shell:
        "exec morphion train --config {params.config} --dataset {input.dataset}"
        " --network {wildcards.network} --split {wildcards.split} --round {wildcards.round}"
        " --threads {threads} {params.currents} {output} 2> {log}"


rule predict:
    """Predictions of a network for a labelled set, beside the labels."""
    input:
        model=PATHS.model("{round}", "{network}", "{split}"),
        dataset=PATHS.dataset("{set}"),
    output:
        PATHS.predictions("{round}", "{network}", "{split}", "{set}"),
    log:
        PATHS.log("predict", "round{round}-{network}-{split}-{set}"),
    benchmark:
        PATHS.benchmark("predict", "round{round}-{network}-{split}-{set}")
    conda:
        ENVIRONMENT
    threads: lambda w: PLAN.threads(w.network, 4)
    shell:
        "exec morphion evaluate --model {input.model} --dataset {input.dataset}"
        " --threads {threads} {output} 2> {log}"
