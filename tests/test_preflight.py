"The pre-flight as a person sees it: colours in a notebook and in a terminal, and refusals that name the row."
from dataclasses import replace

import pytest
from families import tokenizer

from ftkit.core import FtkitError
from ftkit.records import ConversationTrajectory, ConversationTurn, InstructionExample, PreferencePair
from ftkit.model.tree import IGNORED
from ftkit.train.dpo import train_dpo_rows
from ftkit.train.preflight import encode, inspect_rows, preview, refuse_unless_clean, show_tokens
from ftkit.train.ranking import train_ranking_rows
from ftkit.train.sft import train_sft_rows

TOK = tokenizer('tiny')
ONE = InstructionExample('Route <b>it</b>.', 'where\nis it?', 'delivery')

def test_learned_tokens_are_coloured_in_html_and_markup_is_shown_as_text():
    shown = show_tokens(ONE, TOK)._repr_html_()
    green = [part.split('>', 1)[1].split('<', 1)[0] for part in shown.split('<span')[1:] if '#b7e4c7' in part]
    assert ''.join(green)=='delivery&lt;|im_end|&gt;' and '<b>' not in shown and '⏎' in shown

def test_learned_tokens_are_coloured_in_a_terminal():
    shown = str(show_tokens(ONE, TOK))
    assert ''.join(part.split('\033[0m')[0] for part in shown.split('\033[42;30m')[1:])=='delivery<|im_end|>' and '\033[90m' in shown
    assert '[delivery]'.replace('delivery', TOK.decode(encode(ONE, TOK).stretches[0][:1])) in repr(show_tokens(ONE, TOK))

def test_a_pair_shows_both_answers_and_a_conversation_every_turn():
    assert [t for t,on in show_tokens(PreferencePair('q', 'yes', 'no'), TOK).pieces if on].count('<|im_end|>')==2
    talk = ConversationTrajectory('c', [ConversationTurn(n, 'q', 'a', '', str(n)) for n in range(3)])
    assert [t for t,on in show_tokens(talk, TOK).pieces if on].count('<|im_end|>')==3

def test_every_reason_is_counted_and_its_first_row_named():
    good = encode(ONE, TOK)
    endless, empty = replace(good, labels=[*good.labels[:-1], IGNORED]), replace(good, labels=[IGNORED]*len(good))
    seen = inspect_rows([good, endless, empty, endless], TOK)
    assert seen.account.kept==1 and sorted(seen.account.dropped.values())==[1, 2] and dict(seen.examples)[next(w for w in seen.account.dropped if 'stop' in w)]==1
    with pytest.raises(FtkitError, match=r'2 of 4 rows: the end of an answer is not learned.*\(first: row 1\)'): refuse_unless_clean(seen)

def test_the_preview_counts_names_and_colours():
    seen = preview([ONE]*3+[ConversationTrajectory('c', [ConversationTurn(0, 'q', 'a', '', 's')])], TOK)
    assert seen.account.kept==4 and len(seen.views)==2 and 0<seen.share<1 and '#b7e4c7' in seen._repr_html_() and '\033[42' in str(seen)
    with pytest.raises(FtkitError, match='were left out'): preview([ONE, replace(ONE, output='word '*400)], TOK, 128)
    with pytest.raises(FtkitError, match='empty dataset'): preview([], TOK)

def test_a_preview_says_when_length_tells_chosen_from_rejected():
    assert any('length tells' in n for n in preview([PreferencePair(f'q{n}', 'a long answer', 'no') for n in range(12)], TOK).notes)

def test_a_tokenizer_that_loses_a_letter_is_refused(tmp_path):
    class Deaf:
        def __getattr__(self, name): return getattr(TOK, name)
        def __call__(self, *a, **k): return TOK(*[x.replace('é', 'e') if isinstance(x, str) else x for x in a], **k)
    record = InstructionExample('', 'q', 'café au lait')
    refuse_unless_clean(inspect_rows([encode(record, TOK)], TOK))
    with pytest.raises(FtkitError, match='what is learned is not what was approved'): refuse_unless_clean(inspect_rows([encode(record, Deaf())], TOK))
    with pytest.raises(FtkitError, match='the pre-flight refuses these rows:\n- 1 of 2 rows: what is learned is not'): train_sft_rows(None, Deaf(), [ONE], [record], None, tmp_path, tmp_path)

@pytest.mark.parametrize('train', [train_sft_rows, train_dpo_rows, train_ranking_rows])
def test_every_method_asks_the_pre_flight_before_it_looks_at_a_model(tmp_path, train):
    with pytest.raises(FtkitError, match='Cannot train with empty dataset'): train(None, TOK, [], [], None, tmp_path, tmp_path)
