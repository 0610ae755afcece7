rule descriptors:
    """g(r), nearest distances and clusters of every labelled structure."""
    input:
        dataset=PATHS.dataset(round_set(PLAN.last_round)),
    output:
        directory(PATHS.analysis("descriptors")),
    log:
        PATHS.log("descriptors"),
    conda:
        ENVIRONMENT
    threads: 4
    params:
        config=PATHS.config(),
        depends=digest([RUN.analysis.max_distance, RUN.analysis.cluster_distance]),
    shell:
        "exec morphion descriptors --config {params.config} --threads {threads}"
        " --dataset {input.dataset} {output} 2> {log}"


rule pca:
    """Principal components of g(r)."""
    input:
        descriptors=PATHS.analysis("descriptors"),
    output:
        directory(PATHS.analysis("pca")),
    log:
        PATHS.log("pca"),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        config=PATHS.config(),
        depends=digest([RUN.seed, RUN.analysis.components, RUN.analysis.bootstrap]),
    shell:
        "exec morphion pca --config {params.config} --descriptors {input.descriptors} {output} 2> {log}"


# A rule for each table and figure, because each has a caption of its own.
for table_name, table in TABLES.items():

    rule:
        name:
            f"table_{table_name.removeprefix('table')}"
        input:
            data=table.paths(),
        output:
            csv=PATHS.table(table_name),
            html=report(
                PATHS.table(table_name, "html"),
                caption=f"../report/table_{table_name}.rst",
                category=table.category,
                labels={"what": table.title, "form": "table"},
            ),
        log:
            PATHS.log("table", table_name),
        # What is timed or solved belongs on the machine that a user's jobs run on.
        localrule: table.threads == 1
        conda:
            ENVIRONMENT
        threads: table.threads
        params:
            config=PATHS.config(),
            name=table_name,
            settings=digest(table.settings),
        shell:
            "exec morphion table --config {params.config} --threads {threads}"
            " {params.name} {output.csv} 2> {log}"


for figure_name, figure in FIGURES.items():

    rule:
        name:
            f"figure_{figure_name.removeprefix('figure')}"
        input:
            data=figure.paths(),
        output:
            png=report(
                PATHS.figure(figure_name),
                caption=f"../report/{figure_name}.rst",
                category=figure.category,
                labels={"what": figure.title, "form": "figure"},
            ),
            svg=PATHS.figure(figure_name, "svg"),
        log:
            PATHS.log("figure", figure_name),
        localrule: True
        conda:
            ENVIRONMENT
        params:
            config=PATHS.config(),
            name=figure_name,
            settings=digest(figure.settings),
        shell:
            "exec morphion figure --config {params.config} {params.name} {output.png} 2> {log}"
