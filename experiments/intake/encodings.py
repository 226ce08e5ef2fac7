"""Which encoding a text that is not UTF-8 is probably in, for the sentence that refuses it. Reads no file.

A library knows one script from another. Between the two encodings of Latin letters that spreadsheets write on Windows it wavers,
as most of their bytes mean the same; there the alphabets of the languages decide.
"""

# Letters beyond ASCII of one language each, and signs that stand in texts of any. The first encoding wins a tie: it is the commoner.
_SIGNS = "£¢¥²½"
_ALPHABETS = {
    "cp1252": (
        "àâæçèéêëîïôœùûüÿ",  # French
        "äöüßéà",  # German
        "áéíñóúü¿¡ªº",  # Spanish
        "àáâãçéêíóôõúüªº",  # Portuguese
        "àèéìòù",  # Italian
        "àçèéíïòóúü",  # Catalan
        "áéèëïöüêç",  # Dutch
        "æøåéòô",  # Danish, Norwegian
        "åäöé",  # Swedish, Finnish
        "áðéíóúýþæö",  # Icelandic
    ),
    "cp1250": (
        "ąćęłńóśźż",  # Polish
        "áčďéěíňóřšťúůýž",  # Czech
        "áäčďéíĺľňóôŕšťúýž",  # Slovak
        "áéíóöőúüű",  # Hungarian
        "čćđšž",  # Croatian, Slovene
        "ăâîşţ",  # Romanian
    ),
}
# What the library may call a text in one of the two.
_LATIN = {
    *("cp1250", "cp1252", "cp1254", "cp1257", "cp1258", "hp_roman8", "latin_1", "mac_latin2"),
    *(f"iso8859_{part}" for part in (2, 3, 4, 9, 10, 13, 14, 15, 16)),
}
_NAMES = {"cp1252": "Windows-1252 (Western European)", "cp1250": "Windows-1250 (Central European)"}


def encoding_guess(sample: bytes) -> str:
    """Python's name of the probable encoding; empty when nothing fits, or when the sample is plain ASCII or UTF-8 after all."""
    from charset_normalizer import from_bytes  # slow to import, and only needed for a file that is refused

    found = from_bytes(sample).best()
    if found is None or found.encoding in ("ascii", "utf_8"):
        return ""
    return _latin_guess(sample) if found.encoding in _LATIN else found.encoding


def encoding_name(encoding: str) -> str:
    """The encoding as a person may know it."""
    return _NAMES.get(encoding, encoding.replace("_", "-"))


def _latin_guess(sample: bytes) -> str:
    """The encoding in which the bytes that differ between the two are letters of one language."""
    texts = {encoding: sample.decode(encoding, "replace").lower() for encoding in _ALPHABETS}
    telling = [place for place, readings in enumerate(zip(*texts.values(), strict=True)) if len(set(readings)) > 1]

    def fit(encoding: str) -> int:
        return max(sum(texts[encoding][place] in letters + _SIGNS for place in telling) for letters in _ALPHABETS[encoding])

    return max(_ALPHABETS, key=fit)
