rule resolve_config:
    output:
        PATHS.config(),
    log:
        PATHS.log("config"),
    conda:
        ENVIRONMENT
    params:
        text=repr(block(RUN)),
    run:
        from morphion.config import dump_config

        dump_config(RUN, output[0])
        Path(log[0]).write_text(f"{output[0]} written\n")
