"""Print every marked block of the documents anew: `python -m tests.documents`."""

from __future__ import annotations

from tests.documents.blocks import documents, with_blocks
from tests.documents.printed import printed_texts

texts = printed_texts()
for path in documents():
    page = path.read_text(encoding="utf-8")
    path.write_text(with_blocks(page, texts), encoding="utf-8")
