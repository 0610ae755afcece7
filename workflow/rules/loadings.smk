for number, loading in enumerate(RUN.loadings, 1):

    rule:
        name:
            f"loading_{number}"
        input:
            dataset=PATHS.dataset(round_set(PLAN.last_round)),
        output:
            [
                directory(PATHS.structures(loading_set(loading), shard))
                for shard in PLAN.shards(loading_set(loading))
            ],
        log:
            PATHS.log("loadings", loading_set(loading)),
        localrule: True
        conda:
            ENVIRONMENT
        params:
            config=PATHS.config(),
            loading=loading,
            depends=digest([depends_on("geometry"), shards_are(loading_set(loading))]),
        shell:
            "exec morphion loadings --config {params.config} --dataset {input.dataset}"
            " --volume-fraction {params.loading} {output} 2> {log}"
