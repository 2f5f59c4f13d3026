# -*- coding: utf-8 -*-  (Python 2 takes no Chinese without it, and could not say the sentence below)
"""Start the broker: `python main.py` is `python -m mcp_endpoint`, run from this folder."""

import os
import sys

# Nothing above or in this block may need a newer Python than the oldest one somebody may try.
if sys.version_info < (3, 11):
    sys.exit(
        "mcp-endpoint needs Python 3.11 or newer; this is Python %d.%d (%s). / 需要 Python 3.11 或更高版本。"
        % (sys.version_info[0], sys.version_info[1], sys.executable)
    )

HOME = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HOME, "src"))

if __name__ == "__main__":
    try:
        from mcp_endpoint.cli import main
    except ModuleNotFoundError as error:
        sys.exit(
            "%s is missing. Run `make setup`, or `pip install -r requirements.txt`, and start again. / 缺少依赖 %s,请先安装。"
            % (error.name, error.name)
        )
    sys.exit(main(home=HOME))
