report: "../report/workflow.rst"


rule report:
    """Everything that the HTML report shows."""
    input:
        [PATHS.table(name) for name in TABLES],
        [PATHS.figure(name) for name in FIGURES],
