"""Names of sites: what is read is what is written, and wrong names say what would be right."""

from __future__ import annotations

import pytest

from interp.sites import STREAMS, Site, parse_site


def test_names_are_those_of_transformer_lens():
    expected = {
        Site(12, "resid_post"): "blocks.12.hook_resid_post",
        Site(0, "resid_mid"): "blocks.0.hook_resid_mid",
        Site(3, "z"): "blocks.3.attn.hook_z",
        Site(1, "mlp_pre_linear"): "blocks.1.mlp.hook_pre_linear",
        Site(None, "embed"): "hook_embed",
    }
    assert {site: str(site) for site in expected} == expected


@pytest.mark.parametrize("stream", STREAMS)
def test_every_spelling_reads_back(stream: str):
    layer = 7 if STREAMS[stream].in_blocks else None
    site = Site(layer, stream)
    short = stream if layer is None else f"{stream}.{layer}"
    spellings = [text.format(layer=7) for text in STREAMS[stream].other_spellings]
    assert [parse_site(text) for text in (str(site), short, *spellings)] == [site] * (
        2 + len(spellings)
    )


def test_hugging_face_path_is_the_output_of_the_block():
    assert parse_site("model.layers.12") == Site(12, "resid_post")


@pytest.mark.parametrize(
    "text", ["blocks.1.hook_resid_pst", "hook_resid_post", "", "resid_post.-1"]
)
def test_unknown_name_lists_the_known(text: str):
    with pytest.raises(ValueError, match=r"blocks\.\{layer\}\.hook_resid_post"):
        parse_site(text)


def test_unknown_stream_lists_the_known():
    with pytest.raises(ValueError, match="unknown stream 'hidden'.*resid_post"):
        Site(0, "hidden")


def test_layer_where_none_belongs_and_the_remedy():
    with pytest.raises(ValueError, match=r"Write Site\(None, 'embed'\)"):
        Site(0, "embed")
    with pytest.raises(ValueError, match=r"Example: Site\(0, 'z'\)"):
        Site(None, "z")
    assert str(Site(None, "embed")) == "hook_embed" and Site(0, "z").axes[-1] == "d_head"
