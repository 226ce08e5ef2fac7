from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.template import Context, Template

from experiments.templatetags import promptlab_format as f


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (f.percent(0.87345), "87.3%"),
        (f.percent(1, 0), "100%"),
        (f.percent(None), "–"),
        (f.percent(float("nan")), "–"),
        (f.seeds_between({"num_seeds": 2, "lowest": 0.97751, "highest": 0.98876}), "2 seeds from 97.8% to 98.9%"),
        (f.seeds_between({"num_seeds": 2, "lowest": 0.98876, "highest": 0.98876}), "2 seeds, both 98.9%"),
        (f.seeds_between({"num_seeds": 3, "lowest": 0.98871, "highest": 0.98876}), "3 seeds, all 98.9%"),
        (f.interval((0.8412, 0.8821)), "84.1–88.2%"),
        (f.interval([None, 0.5]), "–"),
        (f.interval(0.5), "–"),
        (f.breakable("card_payment.fee/in EUR"), "card_<wbr>payment.<wbr>fee/<wbr>in EUR"),
        (f.breakable("card__payment"), "card__<wbr>payment"),
        (f.breakable("1,204.50_2"), "1,204.50_2"),
        (f.breakable("a&<b>_c&amp;d"), "a&amp;&lt;b&gt;_c&amp;<wbr>amp;<wbr>d"),
        (f.breakable(""), ""),
        (f.signed_points(0.0213), "+2.1 points"),
        (f.signed_points(-0.005), "−0.5 points"),
        (f.signed_points(0.0001), "±0.0 points"),
        (f.signed_points(0.01), "+1.0 point"),
        (f.count(1204), "1,204"),
        (f.count("x"), "–"),
        (f.counted(1, "row"), "1 row"),
        (f.counted(1204, "row"), "1,204 rows"),
        (f.counted(2, "category,categories"), "2 categories"),
        (f.decimals(-0.12345), "−0.123"),
        (f.setting(0.005 / 3), "0.00167"),
        (f.setting(5e-6), "5e-06"),
        (f.setting(12345.6), "12,346"),
        (f.setting(16.0), "16.0"),
        (f.setting("template"), "template"),
        (f.compact(66_362_880), "66.4 M"),
        (f.compact(812), "812"),
        (f.duration(0.0851), "85 ms"),
        (f.duration(3.24), "3.2 s"),
        (f.duration(59.99), "1 min 00 s"),
        (f.duration(245), "4 min 05 s"),
        (f.duration(3725), "1 h 02 min"),
        (f.duration(-1), "–"),
        (f.file_size(812), "812 B"),
        (f.file_size(100 * 2**20), "100 MB"),
        (f.file_size(1_468_006), "1.4 MB"),
        (f.money(None), "unknown"),
        (f.money(Decimal("0")), "$0.00"),
        (f.money(Decimal("1234.5"), "EUR"), "€1,234.50"),
        (f.money("0.001234", "CHF"), "CHF 0.00123"),
        (f.money("0.5"), "$0.50"),
        (f.money("-2"), "−$2.00"),
        (f.money("many"), "unknown"),
        (f.as_slot("text"), "{{text}}"),
    ],
)
def test_a_value_is_shown_in_the_unit_that_reads_best(shown, expected):
    assert shown == expected


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "just now"), (60, "1 minute ago"), (3600, "1 hour ago"), (86_400 * 3, "3 days ago"), (86_400 * 800, "2 years ago")],
)
def test_elapsed_time_is_said_in_words(seconds, words):
    assert f.elapsed(seconds) == words


def test_a_moment_carries_its_machine_readable_time():
    moment = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)

    assert f.when(moment) == '<time datetime="2026-03-01T12:30:00+00:00" data-when>2026-03-01 12:30 UTC</time>'
    assert "3 hours ago" in f.ago(datetime.now(UTC) - timedelta(hours=3))
    assert f.when(None) == f.ago(None) == "–"


def test_a_difference_has_a_class_for_its_direction():
    assert f.delta_class(0.1) == f.delta_class(-0.1, "lower") == "delta-better"
    assert f.delta_class(-0.1) == "delta-worse"
    assert f.delta_class(None) == f.delta_class(0) == "delta-same"


def test_filters_need_no_load_in_a_template():
    assert Template("{{ share|percent }}").render(Context({"share": 0.5})) == "50.0%"
