"""Texts of people in the encodings that spreadsheets write: which one is guessed."""

import pytest

from experiments.intake.encodings import encoding_guess, encoding_name

WESTERN = {
    "French": "L’été dernier, j’ai reçu une facture de 25 € que je n’avais pas demandée. Où est le numéro de ma commande ?",
    "German": "Größere Beträge für Müller überweisen – „bitte“ prüfen, 30 € Gebühr. Wann kommt meine Überweisung an?",
    "Spanish": "¿Dónde está mi pedido? El niño cumple años mañana y aún no ha llegado. ¡Qué vergüenza! Pagué 20 € por el envío.",
    "Portuguese": "Não consigo aceder à minha conta. A opção de pagamento não está disponível, é uma situação péssima.",
    "Italian": "Perché non è arrivato il mio pacco? La città è giusta, però il corriere dice di no. È già lunedì.",
    "Swedish": "Jag har inte fått min återbetalning ännu. Är det något fel på kortet?",
    "Danish": "Jeg har ikke fået min ordre endnu. Det er ærgerligt, og jeg ønsker pengene retur på min løn.",
    "English": "I was charged £20 for “express” delivery, but it’s still not here – why?",
    "French with German": "J’ai payé à Genève. Où est ma carte ? Die Überweisung an Herrn Jäger fehlt, c’est très gênant.",
}
CENTRAL = {
    "Polish": "Gdzie jest moja przesyłka? Proszę o zwrot pieniędzy, ponieważ zamówienie nie dotarło. Żądam wyjaśnień jeszcze dziś.",
    "Czech": "Kde je moje zásilka? Prosím o vrácení peněz, protože objednávka nedorazila. Čtyři dny už čekám.",
    "Slovak": "Kde je moja zásielka? Prosím o vrátenie peňazí, lebo objednávka neprišla. Ďakujem, čakám už päť dní.",
    "Hungarian": "Hol van a csomagom? Kérem a pénzem visszatérítését. Időben fizettem, a fiókom működése tűrhetetlen.",
}


@pytest.mark.parametrize("times", [1, 30])
@pytest.mark.parametrize("language", WESTERN)
def test_western_texts_are_windows_1252(language, times):
    assert encoding_guess(f"{WESTERN[language]}\n".encode("cp1252") * times) == "cp1252"


@pytest.mark.parametrize("times", [1, 30])
@pytest.mark.parametrize("language", CENTRAL)
def test_central_texts_are_windows_1250(language, times):
    assert encoding_guess(f"{CENTRAL[language]}\n".encode("cp1250") * times) == "cp1250"


def test_other_scripts_are_told_by_the_library():
    assert encoding_guess("Где моя посылка? Прошу вернуть деньги, заказ не пришёл.".encode("cp1251")) == "cp1251"
    assert encoding_guess("注文した商品がまだ届いていません。返金してください。".encode("shift_jis")) in ("cp932", "shift_jis")


def test_plain_texts_have_no_guess():
    assert encoding_guess(b"nothing odd") == encoding_guess("Grüße".encode()) == ""


def test_an_encoding_is_named_as_a_person_may_know_it():
    assert encoding_name("cp1252") == "Windows-1252 (Western European)"
    assert encoding_name("shift_jis") == "shift-jis"
