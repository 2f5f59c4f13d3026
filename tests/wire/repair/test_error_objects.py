"""Errors of tool programs are made what JSON-RPC says an error is, so that clients do not drop them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from mcp_endpoint.wire.repair.error_objects import NO_WORDS, is_none, proper

jsons: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["code", "message", "data", "x"]), inner)
    ),
    max_leaves=8,
)


@given(jsons)
def test_whatever_it_was_it_is_an_error_then(value: Any) -> None:
    spelled = json.dumps(value).encode()
    made = bytes(proper(Raw(spelled)))
    error = json.loads(made)
    assert type(error["code"]) is int
    assert -(2**31) <= error["code"] < 2**31
    assert type(error["message"]) is str
    well = isinstance(value, dict) and type(value.get("code")) is int and abs(value["code"]) < 2**31
    if well and type(value.get("message")) is str and value["message"].strip():
        assert made == spelled
    if isinstance(value, dict) and value.get("data") is not None and set(value) <= {"message", "data"}:
        assert error["data"] == value["data"]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ({"code": "E1", "message": None}, -32603, "E1"),
        ({"code": "E1", "message": "no such lamp"}, -32603, "no such lamp"),
        ({"code": "-32001", "message": "x"}, -32001, "x"),
        ({"code": -32000.0, "message": "x"}, -32000, "x"),
        ({"code": 2**40, "message": "x"}, -32603, "x"),
        ({"code": True, "message": "x"}, -32603, "x"),
        ({"message": "x"}, -32603, "x"),
        ({"code": -32000}, -32000, "-32000"),
        ({"code": 1, "message": {"text": "deep"}}, 1, "deep"),
        ({"code": 1, "message": ["a", "b"]}, 1, "a; b"),
        ({"code": 1, "msg": "m"}, 1, "m"),
        ({"code": 1, "data": {"detail": "d"}}, 1, "d"),
        ({"error": {"message": "inner"}}, -32603, "inner"),
        ("it broke", -32603, "it broke"),
        (["a", {"message": "b"}], -32603, "a; b"),
        (404, 404, "404"),
        ({"code": 1, "message": "", "data": "disk full"}, 1, "disk full"),
        ({"code": 1, "message": " "}, 1, "1"),
        ({"code": 1, "message": {"disk": "full"}}, 1, '{"disk": "full"}'),
        ({"code": 1, "message": {"code": "E5"}}, 1, "E5"),
        ({"code": 1, "data": {"left": 0}}, 1, '{"left": 0}'),
        ({"code": 1, "message": {}, "data": {"detail": "d"}}, 1, "d"),
        (True, -32603, NO_WORDS),
        ({}, -32603, NO_WORDS),
    ],
)
def test_the_programs_own_words_are_kept(error: object, code: int, message: str) -> None:
    made = json.loads(bytes(proper(Raw(json.dumps(error).encode()))))
    assert (made["code"], made["message"]) == (code, message)


def test_data_keeps_its_bytes_and_what_else_was_said() -> None:
    assert json.loads(bytes(proper(Raw(b'{"code":"E1","message":null,"data":{"a":1}}'))))["data"] == {
        "code": "E1",
        "data": {"a": 1},
    }
    assert b'"data":[1.50]' in bytes(proper(Raw(b'{"code":"7","message":"x","data":[1.50]}')))


@pytest.mark.parametrize("error", ["null", "false", '""', "{}", "[]", '{"code":0,"message":""}'])
def test_values_that_stand_for_no_error(error: str) -> None:
    assert is_none(Raw(error.encode()))


@pytest.mark.parametrize("error", ["true", '"x"', '{"code":1}', '{"code":0,"message":"x"}', "[1]"])
def test_values_that_are_errors(error: str) -> None:
    assert not is_none(Raw(error.encode()))
