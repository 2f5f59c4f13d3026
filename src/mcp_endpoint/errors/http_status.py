"""What errors and ends of links are over HTTP: a status, and advice for who set a client up."""

from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.json_rpc import Code
from mcp_endpoint.errors.refusals import Refusal
from mcp_endpoint.language import Bilingual

STATELESS_STATUS: dict[int, int] = {
    Code.PARSE_ERROR: 400,
    Code.INVALID_REQUEST: 400,
    Code.INVALID_PARAMS: 400,
    Code.HEADER_MISMATCH: 400,
    Code.MISSING_CAPABILITY: 400,
    Code.UNSUPPORTED_VERSION: 400,
    Code.METHOD_NOT_FOUND: 404,
}
"""The status of an answer that is an error with this code, to a stateless request (2026-07-28); 200 for any other."""

HTTP_STATUS: dict[End, int] = {
    End.MISSING_TOKEN: 401,
    End.BAD_TOKEN: 401,
    End.TWO_TOKENS: 401,
    End.TOO_MANY_DEVICES: 429,
    End.TOO_MUCH_UNFINISHED: 503,
    End.RESTART: 503,
    End.INTERNAL: 500,
}
"""The status of an answer to an HTTP request that is refused, or left without its answer, for a link's reason.

Any other end of an HTTP session leaves its requests with 404, as one that is not there (specification, "Session
Management").
"""

_A_TOKEN = Bilingual(
    "；请从智控台重新复制该智能体的地址，或在服务所在的机器上运行 main.py token --agent 名称，"
    "token 放在地址的 ?token= 之后，或放在请求头 Authorization: Bearer 中（不使用 OAuth）",
    "; copy the agent's URL again from the management console, or run main.py token --agent NAME where the broker "
    "runs: the token belongs behind ?token= in the URL, or into the header Authorization: Bearer (there is no OAuth)",
)
ADVICE: dict[End | Refusal, Bilingual] = {
    End.MISSING_TOKEN: _A_TOKEN,
    End.BAD_TOKEN: _A_TOKEN,
    End.TWO_TOKENS: Bilingual(
        "；请只保留一个：地址中 ?token= 之后的，或请求头中的",
        "; leave one of them, that behind ?token= in the URL or that in a header",
    ),
}
"""What an answer over HTTP adds to a reason's words; clients show it to who set them up."""
