for loading in RUN.loadings:

    rule:
        name:
            f"loading_{round(1000 * loading):03d}"
        input:
            config=ancient(PATHS.config()),
            dataset=PATHS.dataset(round_set(PLAN.last_round)),
        output:
            [
                directory(PATHS.structures(loading_set(loading), shard))
                for shard in PLAN.shards(loading_set(loading))
            ],
        log:
            PATHS.log("loadings", loading_set(loading)),
        conda:
            ENVIRONMENT
        params:
            loading=loading,
            depends=depends_on("geometry"),
        shell:
            "morphion loadings --config {input.config} --dataset {input.dataset}"
            " --volume-fraction {params.loading} {output} 2> {log}"
