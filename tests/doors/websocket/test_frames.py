"""The frame reader must see in any bytes just what ServerProtocol alone sees."""

import logging
import struct
import sys
from collections.abc import Sequence

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from mcp_endpoint.doors.websocket.frames import MAX_LAST_FRAMES, FrameReader, LastFrames

LIMIT = 300
QUIET = logging.getLogger("test_frames")
QUIET.setLevel(logging.CRITICAL)

Seen = tuple[int, bytes, bool]


def protocol() -> ServerProtocol:
    return ServerProtocol(state=State.OPEN, max_size=LIMIT, logger=QUIET)


def masked(opcode: int, payload: bytes, fin: bool = True, mask: bytes = b"\1\2\3\4", rsv: int = 0) -> bytes:
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if len(payload) < 126:
        head += bytes([0x80 | len(payload)])
    elif len(payload) < 65_536:
        head += bytes([0x80 | 126]) + struct.pack("!H", len(payload))
    else:
        head += bytes([0x80 | 127]) + struct.pack("!Q", len(payload))
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def alone(pieces: Sequence[bytes]) -> tuple[list[Seen], ServerProtocol]:
    ws = protocol()
    seen: list[Seen] = []
    for piece in pieces:
        ws.receive_data(piece)
        seen += [(e.opcode, bytes(e.data), e.fin) for e in ws.events_received() if isinstance(e, Frame)]
    return seen, ws


def through_reader(
    pieces: Sequence[bytes], most: int = sys.maxsize, size: int = 65_536, lazy: bool = False
) -> tuple[list[Seen], ServerProtocol]:
    """All events of a reader that gives at most `most` at a time; `lazy`: it is asked only when all has come."""
    ws = protocol()
    reader = FrameReader(ws, LIMIT, size)
    seen: list[Seen] = []

    def feed(data: bytes) -> None:
        events = reader.feed(data, most)
        assert len(events) <= most
        for event in events:
            seen.append(
                (Opcode.TEXT, event, True) if isinstance(event, bytes) else (event.opcode, bytes(event.data), event.fin)
            )

    for piece in pieces:
        if lazy:
            reader.keep(piece)
        else:
            feed(piece)
            while reader.more:
                feed(b"")
    feed(b"")
    while reader.more:
        feed(b"")
    return seen, ws


payloads = st.one_of(st.binary(max_size=140), st.integers(LIMIT - 2, LIMIT + 2).map(bytes))
frames = st.one_of(
    st.builds(masked, st.just(1), payloads, mask=st.binary(min_size=4, max_size=4)),
    st.builds(masked, st.sampled_from([0, 1, 2, 8, 9, 10]), st.binary(max_size=130), st.booleans()),
    st.builds(masked, st.integers(0, 15), st.binary(max_size=10), st.booleans(), rsv=st.integers(0, 7)),
    st.sampled_from(
        [b"\x81\x03abc", b"\x81\xff" + b"\xff" * 12, b"\x81\xfe\x00\x03\0\0\0\0abc", masked(8, b"\x03\xe8bye")]
    ),
)


@settings(max_examples=600)
@given(st.lists(frames, max_size=8).map(b"".join), st.data())
def test_any_bytes_in_any_pieces_read_as_server_protocol_reads_them(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) if a < b]
    want, plain = alone(pieces)
    most, size, lazy = (
        data.draw(st.sampled_from([1, 2, 3, 99])),
        data.draw(st.integers(1, 400)),
        data.draw(st.booleans()),
    )
    got, cut = through_reader(pieces, most, size, lazy)
    assert got == want
    # A header is taken as a whole here, so a fault in it may be found one piece later, never not at all.
    if pieces and not (plain.parser_exc is not None and cut.parser_exc is None and len(stream) < 14):
        assert type(cut.parser_exc) is type(plain.parser_exc) or _header_not_whole(stream)
        assert cut.close_rcvd == plain.close_rcvd


def _header_not_whole(stream: bytes) -> bool:
    """Whether the stream ends within the header of its last frame."""
    place = 0
    while len(stream) - place >= 2:
        length = stream[place + 1] & 0x7F
        body = place + 6 + {126: 2, 127: 8}.get(length, 0)
        if length >= 126:
            length = int.from_bytes(stream[place + 2 : body - 4])
        if body > len(stream):
            return True
        place = body + length
    return place < len(stream)


def test_a_large_text_in_small_pieces() -> None:
    text = bytes(range(32, 127)) * 3
    stream = masked(1, text[:LIMIT]) + masked(1, b"next")
    seen, ws = through_reader([stream[i : i + 7] for i in range(0, len(stream), 7)])
    assert [data for _, data, _ in seen] == [text[:LIMIT], b"next"]
    assert ws.parser_exc is None


def test_what_is_not_whole_is_counted_until_it_is() -> None:
    reader = FrameReader(protocol(), LIMIT)
    frame = masked(1, b"x" * 200)
    for _ in range(2):
        for end, size in ((3, 0), (50, 50), (207, 207), (208, 0)):
            start = {3: 0, 50: 3, 207: 50, 208: 207}[end]
            assert len(reader.feed(frame[start:end])) == (end == 208)
            assert reader.unfinished == size
    reader.feed(frame[:100])
    assert reader.leave() == (108, b"")
    assert reader.unfinished == 0


def test_nothing_counts_after_a_close() -> None:
    seen, ws = through_reader([masked(8, b"\x03\xe8") + masked(1, b"late"), masked(1, b"later")])
    assert [opcode for opcode, _, _ in seen] == [Opcode.CLOSE]
    assert ws.close_rcvd is not None


def test_a_text_within_a_fragmented_message_is_an_error() -> None:
    seen, ws = through_reader([masked(1, b"begin", fin=False) + masked(1, b"whole")])
    assert [data for _, data, _ in seen] == [b"begin"]
    assert ws.parser_exc is not None


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2, 9, 10]), st.integers(0, 70_000)), max_size=6), st.data())
def test_after_the_brokers_close_only_the_peers_own_counts(before: list[tuple[int, int]], data: st.DataObject) -> None:
    stream = b"".join(masked(opcode, bytes(size), mask=b"\0\0\0\0") for opcode, size in before)
    close = masked(8, b"\x03\xe8bye")
    cut = data.draw(st.integers(0, min(len(stream), 200)))
    ws = protocol()
    reader = FrameReader(ws, LIMIT)
    reader.feed(stream[:cut])
    assume(ws.parser_exc is None)
    missing, rest = reader.leave()
    last = LastFrames(missing)
    assert not last.feed(rest)
    late = stream[cut:] + close
    cuts = sorted(data.draw(st.lists(st.integers(1, len(late) - 1), max_size=6)))
    for begin, end in zip([0, *cuts], [*cuts, len(late)], strict=True):
        assert last.feed(late[begin:end]) == (end == len(late) and begin < end)


def test_a_peer_that_never_answers_a_close_is_not_listened_to_for_ever() -> None:
    last = LastFrames()
    assert not last.feed(masked(9, b"") * (MAX_LAST_FRAMES - 1))
    assert last.feed(masked(9, b""))
