"""torchrun that ends with the process which started it, by ``python -m``.

Left alone, its ranks would train on, and whoever started it again would find them at work.
"""

from torch.distributed.run import main

from morphion.stopping import end_with_parent

if __name__ == "__main__":
    end_with_parent()
    main()
