"""A replication of LLaVA-VSD (arXiv 2408.04957); ``python -m vsd_utils --help`` lists what it does."""

import logging

# Where the processor has certain instructions, bitsandbytes advises, when PEFT imports it, to install another package:
# nothing that a user of this project can or need act on, and it would stand in an executed notebook for ever.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
