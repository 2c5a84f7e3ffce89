from __future__ import annotations

import pytest

from columnservice.cache import PieceKey
from columnservice.errors import RequestError

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("text", ["0123456789abcdef", "f" * 64])
def test_a_key_is_hexadecimal(text):
    assert PieceKey(text).text == text


@pytest.mark.parametrize(
    "text", ["", "0" * 15, "0" * 65, "0" * 15 + "g", "0" * 16 + "\n", "A" * 16, "../" * 8, "٣" * 16]
)
def test_another_text_is_no_key(text):
    with pytest.raises(RequestError, match="no piece key"):
        PieceKey(text)
