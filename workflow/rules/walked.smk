if RUN.walked.structures:

    rule walked:
        """Part of the test split, for labels by kinetic Monte Carlo beside the exact ones."""
        input:
            dataset=PATHS.dataset(round_set(0)),
        output:
            [
                directory(PATHS.structures(WALKED, shard))
                for shard in PLAN.shards(WALKED)
            ],
        log:
            PATHS.log("walked", WALKED),
        localrule: True
        conda:
            ENVIRONMENT
        params:
            config=PATHS.config(),
            depends=digest([RUN.seed, RUN.walked.structures, shards_are(WALKED)]),
        shell:
            "exec morphion walked --config {params.config} --dataset {input.dataset} {output} 2> {log}"
