"""Three rows as the `datasets` package saves them: an Arrow stream of two batches."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

ROWS = [([5, 6, 7, 300], [0, 0, 1, 1]), ([9], [0]), ([4, 4, 4], [0, 1, 1])]
"""`input_ids` and `loss_mask`. Beside them are numbers, lists of records, and a column with a missing value."""

_STREAM = (
    "c-oy*Epr<&5MA9}oU7+DbDeQJ1_1_z28ITiiD7<1L1#QyN7H)hkHot0fPjF2!hnLn!2W=O!hnLp!v27O!l0@vX*HEMr`qYx$g9<R"
    "TIp7At+m#J1fT?CZ784xJCNfHO=K7YMmhdw^b3dsTnK<3j(eOBY5mP_t#MOoa_!R^5MND}D~Y*t94)(=z?I_{9gKR!$CS{uX9CQn"
    "Qq?=D4Erl`zc~J0H{j#dVT7YY@wAq6!~cccd&l1?DW|{BE{@4^QOiXQUHtxzZsr-kTF#`IkC1cVcu7+}B~QmQxq!aqfG~HO>G=0O"
    "Gx$=e@w`$WaDIc_Pm%oLcU=YfzXkbU1^N4wf4Vq1tH;x0WwFfSC05G3!LEJTlHT2&*^8W+BR9t#xr2n^;nDgiadkIVz)Mn2VKYOT"
    "*>89NZ*7bVt0JSVnQ)p*;IF-axE16}w(jE|`2oWRZ2ySiBj(Q;?&B``YldI5{I?8`#Z*i9O#V6fJI23b{O`g082dq9kpIc<>nguq"
    "XWx^dJr(D%cw(G1tY^Ww#<!@q`oifs3kK&y<UFw@p0PM(Tz=0pC0AxtN=;Q=;Xlbbzj`}4eq6_gLoUB<`{?6_J`!8@QO-PHFB<d{"
    "#yRUZV6o>789rqDV}0oHBZkLff8W>S_sG9z?|H)b=j@#?S^mq0I<*`0ly1;@`k#HVDgKwf(}rGY(sWGkNuYCIPp);r^7{QG`!#)="
    "$seXfkLd"
)


def arrow_stream() -> bytes:
    return zlib.decompress(base64.b85decode(_STREAM))


def saved_rows(folder: Path) -> Path:
    """A folder of a saved data set. Its rows are those of two files, in the order that it states."""
    folder.mkdir(parents=True)
    for name in ("a.arrow", "b.arrow"):
        (folder / name).write_bytes(arrow_stream())
    (folder / "state.json").write_text('{"_data_files": [{"filename": "b.arrow"}, {"filename": "a.arrow"}]}')
    return folder
