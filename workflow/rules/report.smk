report: "../report/workflow.rst"


rule results:
    """The comparison of the networks as a page of Markdown."""
    input:
        RESULTS.paths(),
    output:
        page=PATHS.results(),
        figures=[
            PATHS.results(name.replace("_", "-"), suffix)
            for name in RESULTS.inputs["figures"]
            for suffix in ("png", "svg")
        ],
    log:
        PATHS.log("results"),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        config=PATHS.config(),
    shell:
        "exec morphion results --config {params.config} {output.page} 2> {log}"


rule report:
    """Everything that the HTML report shows, and the page."""
    input:
        PATHS.results(),
        [PATHS.table(name, suffix) for name in TABLES for suffix in ("csv", "html")],
        [PATHS.figure(name, suffix) for name in FIGURES for suffix in ("png", "svg")],
