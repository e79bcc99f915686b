"""Messages of the libraries about their own code, which no user can act on; imported for its effect.

Each filter has its reason and goes when that does.
"""

import warnings

from transformers.utils import logging

# transformers 5 renamed "gradient checkpointing" to "activation checkpointing" and still reads the old name itself,
# as TRL 1.16 and PEFT 0.21 do.
warnings.filterwarnings("ignore", message=".*gradient_checkpointing.* is deprecated", category=FutureWarning)

# Bars and "mtime may not be reliable on this filesystem": in an executed notebook they would stand as text for ever,
# another one after each run. ``vsd_utils.common.progress`` shows what there is to wait for. (Those of datasets:
# ``vsd_utils.finetune.dataset``.)
logging.disable_progress_bar()
logging.set_verbosity_error()
