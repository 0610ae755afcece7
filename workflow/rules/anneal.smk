rule anneal:
    """Simulated annealing of several runs at once on the predictions of a network."""
    input:
        model=PATHS.model("{round}", DRIVER, "random"),
    output:
        directory(PATHS.anneal("{round}", "{objective}", "{job}")),
    log:
        PATHS.log("anneal", "round{round}-{objective}-{job}"),
    benchmark:
        PATHS.benchmark("anneal", "round{round}-{objective}-{job}")
    conda:
        ENVIRONMENT
    threads: PLAN.threads(DRIVER, 8)
    params:
        config=PATHS.config(),
        depends=lambda w: digest(
            [depends_on("geometry"), RUN.anneal.dynamics(w.objective)]
        ),
    shell:
        "exec morphion anneal --config {params.config} --model {input.model}"
        " --round {wildcards.round} --objective {wildcards.objective} --job {wildcards.job}"
        " --threads {threads} {output} 2> {log}"


# A rule for each round: its outputs are the shards of the next round's set, whose number the
# configuration fixes.
for round_ in PLAN.rounds()[:-1]:

    rule:
        name:
            f"select_round{round_}"
        input:
            dataset=PATHS.dataset(round_set(round_)),
            annealed=annealed(round_),
        output:
            shards=[
                directory(PATHS.structures(round_set(round_ + 1), shard))
                for shard in PLAN.shards(round_set(round_ + 1))
            ],
            report=PATHS.selection(round_),
        log:
            PATHS.log("select", f"round{round_}"),
        localrule: True
        conda:
            ENVIRONMENT
        params:
            config=PATHS.config(),
            depends=digest(
                [RUN.seed, RUN.anneal.selecting(), shards_are(round_set(round_ + 1))]
            ),
            round=round_,
            annealed=lambda w, input: [f"--annealed={path}" for path in input.annealed],
        shell:
            "exec morphion select --config {params.config} --dataset {input.dataset}"
            " --round {params.round} --report {output.report} {params.annealed}"
            " {output.shards} 2> {log}"


rule evaluation_sample:
    """Structures of the last annealing, labelled to judge the last network."""
    input:
        annealed=annealed(PLAN.last_round),
    output:
        [
            directory(PATHS.structures(EVALUATION, shard))
            for shard in PLAN.shards(EVALUATION)
        ],
    log:
        PATHS.log("select", "evaluation"),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        config=PATHS.config(),
        depends=digest([RUN.seed, RUN.anneal.evaluation_sample, shards_are(EVALUATION)]),
        round=PLAN.last_round,
        annealed=lambda w, input: [f"--annealed={path}" for path in input.annealed],
    shell:
        "exec morphion sample --config {params.config} --round {params.round} {params.annealed}"
        " {output} 2> {log}"
