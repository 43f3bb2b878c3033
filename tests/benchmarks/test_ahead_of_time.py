"""Reading the text of a program that was compiled for many chips."""

from benchmarks.ahead_of_time import Collective, collectives

TEXT = """\
HloModule jit_step, input_output_alias={ {0}: (0, {}, may-alias) }

%all-reduce-scatter (input: f32[1024,4096]) -> f32[1024,512] {
  %all-reduce.1 = f32[1024,4096]{1,0:T(8,128)} all-reduce(%input), channel_id=4, to_apply=%add
}

ENTRY %main.3 (p: f32[8,1]) -> f32[] {
  %all-reduce.2 = (f32[]{:T(128)}, f32[]{:T(128)}) all-reduce(%norm, %loss), channel_id=14
  %get-tuple-element = f32[]{:T(128)} get-tuple-element(%all-reduce.2), index=0
  %all-gather.3 = bf16[4096,1024]{1,0:T(8,128)S(1)} all-gather(%new), dimensions={0}
  ROOT %fusion = f32[1024,512]{1,0} fusion(%g), kind=kCustom, calls=%all-reduce-scatter
}
"""


def test_collectives_with_the_bytes_of_the_larger_side() -> None:
    assert [*collectives(TEXT)] == [
        Collective("reduce-scatter", ("f32[1024,4096]",), 4 * 1024 * 4096),
        Collective("all-reduce", ("f32[]", "f32[]"), 8),
        Collective("all-gather", ("bf16[4096,1024]",), 2 * 4096 * 1024),
    ]
