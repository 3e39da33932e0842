from pathlib import Path

import pytest

from clm_spark.errors import SettingsError
from clm_spark.models.catalogue import load_settings
from clm_spark.models.churn import ChurnSettings
from clm_spark.models.transformer.settings import TransformerSettings

CONF = str(Path(__file__).parents[2] / "conf")


def load(*overrides, profile="local", as_of="2024-03-01", conf_dir=CONF):
    return load_settings(profile, as_of=as_of, overrides=overrides, conf_dir=conf_dir)


def test_later_layers_win():
    settings = load("churn.horizon_days=28", "lakehouse.path=/tmp/x", "transformer.launcher=one_process")
    assert settings.shop.name == "complete_journey"  # conf/local.yml
    assert (settings.of(ChurnSettings).horizon_days, settings.lakehouse.path) == (28, "/tmp/x")
    assert settings.of(TransformerSettings).launcher == "one_process"
    assert settings.sessions.max_gap_minutes == 30  # the default


def test_a_shop_is_given_by_its_name_or_as_a_section():
    layers = [  # overrides on conf/local.yml, which names the shop alone; name, zone
        (["shop.time_zone=Europe/Vienna"], "complete_journey", "Europe/Vienna"),
        (["shop.time_zone=Europe/Vienna", "shop=mine"], "mine", "Europe/Vienna"),
        (["shop=mine"], "mine", None),
        (["shop={name: mine, time_zone: Asia/Tokyo}", "shop.time_zone=UTC"], "mine", "UTC"),
    ]
    came = [(sets, shop.name, shop.time_zone) for sets, *_ in layers for shop in [load(*sets).shop]]
    assert came == layers


def test_the_digest_names_what_decides_rows():
    digest = load().digest
    assert load("spark.driver_memory=12g", "spark.conf={spark.ui.enabled: 'false'}").digest == digest
    for override in ("churn.horizon_days=28", "sessions.max_gap_minutes=31", "tracking.uri=/tmp/x"):
        assert load(override).digest != digest


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: load("churn.horizon=28", "als.ranks=3"), ["churn.horizon is unknown", "als.ranks is unknown"]),
        (lambda: load("evaluation.leave_out=[transfomer]"), ["leave_out=transfomer is no model", "transformer"]),
        (lambda: load("evaluation.take_in=[nfm]"), ["take_in=nfm is no model", "nmf"]),
        (lambda: load("evaluation.take_in=[als]", "evaluation.leave_out=[als]"), ["both name als", "name it in one"]),
        (lambda: load("churn.horizon_days=soon"), ["churn.horizon_days", "valid integer", "soon"]),
        (lambda: load("churn.horizon_days"), ["section.key=value", "churn.horizon_days"]),
        (lambda: load("shop=My Shop"), ["shop.name", "match pattern", "My Shop"]),
        (lambda: load("shop=secret_garden"), ["shop.name", "Spark hides what holds secret", "secret_garden"]),
        (lambda: load("shop.time_zone=CET"), ["shop.time_zone", "IANA name such as Europe/Vienna", "CET"]),
        (lambda: load("segments.k_from=9"), ["k_from must not be above"]),
        (
            lambda: load("als.seed=-1", "evaluation.seed=-1", "transformer.seed=-1"),
            ["als.seed", "evaluation.seed", "transformer.seed", "greater than or equal to 0"],
        ),
        (lambda: load("rankings.half_life_days=.inf"), ["rankings.half_life_days", "finite number"]),
        (
            lambda: load(
                "recommend.retire_after_days=999999", "popularity.window_days=999999", "rankings.half_life_days=1e9"
            ),
            ["retire_after_days", "popularity.window_days", "half_life_days", "less than or equal to 36500"],
        ),
        (lambda: load("features.kind_strengths.refund=-5"), ["kind_strengths.refund", "greater than or equal to 0"]),
        (lambda: load("surfaces.email.sponsored_places=[9]"), ["surfaces.email", "within the list's 6 items"]),
        (
            lambda: load("surfaces.home.sponsored_places=[25]", "shop_facts.items=a.csv"),
            ["surfaces.home", "within the list's 20 items"],
        ),
        (
            lambda: load("surfaces.home.sponsored_places=[3]"),
            ["surfaces.home", "shop_facts.items, which names no file"],
        ),
        (lambda: load("surfaces.home.max_per_brand=2"), ["surfaces.home", "shop_facts.items, which names no file"]),
        (
            lambda: load("surfaces.email.permission="),
            ["--set surfaces.email.permission= has no value", "=null for none"],
        ),
        (lambda: load("surfaces.email.permission=''"), ["surfaces.email.permission", "at least 1 character"]),
        (
            lambda: load("surfaces.home.min_new=ALL"),
            ["surfaces.home.min_new: ", "from 0 to 10000, or all", "got 'ALL'"],
        ),
        (lambda: load("surfaces.home.length=3000000000"), ["surfaces.home.length", "less than or equal to 10000"]),
        (lambda: load(as_of="yesterday"), ["as_of", "yesterday"]),
        (lambda: load(profile="moon"), ["profile 'moon' is unknown", "local"]),
        (lambda: load(conf_dir="/nowhere"), ["no settings folder at /nowhere", "--conf-dir"]),
    ],
)
def test_mistakes_are_named_all_at_once(call, expected):
    with pytest.raises(SettingsError) as error:
        call()
    assert [words for words in expected if words not in str(error.value)] == []
