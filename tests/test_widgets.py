"The approval panel in plain Python: every button, refusals, races, escaping, both kinds of answer field."
import os, subprocess, sys
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from ftkit.core import FtkitError, as_time
from ftkit.records import ConversationTrajectory, ConversationTurn, InstructionExample, PreferencePair, Triplet
from ftkit.data.approval import ApprovalStore, annotations
from ftkit.data.decisions import ApprovalBatch, ReviewItem
from ftkit.data.queue import ReviewQueue
from ftkit.panels.approval import ApprovalPanel, approval_panel, check_shortcuts
from ftkit.panels.parts import KEYMAP, PAGE, key_layer, show_record, snapshot, word_diff

NASTY = '<script>alert(1)</script><img src=x onerror=y>&amp;"\''

def batch(n=3, **context): return ApprovalBatch('b', [ReviewItem(f'i{k}', InstructionExample('Route.', f'question {k}', 'orders', dict(synthetic=True)), k/max(n, 1), 'ab'[k%2]) for k in range(n)], context=context)

@pytest.fixture
def store(tmp_path): return ApprovalStore(f'sqlite:///{tmp_path}/a.db')

def panel(b=None, **kw): return ApprovalPanel(ReviewQueue(b or batch(), 'ana'), guard_s=0, **kw)
def statuses(p): return [i.status for i in p.queue.show().items]

class Tags(HTMLParser):
    def __init__(self, html): super().__init__(); self.seen = set(); self.text = ''; self.feed(html)
    def handle_starttag(self, tag, attrs): self.seen.add(tag)
    def handle_data(self, data): self.text += data

# --- buttons

def test_each_button_does_what_it_says():
    p = panel(batch(5))
    for b in ('approve', 'reject', 'skip'): p.buttons[b].click()
    assert p.counts.value=='3/5 · 1 approved · 1 rejected · 1 skipped' and p.progress.value==3
    p.buttons['undo'].click()
    assert p.queue.item.item_id=='i2' and p.progress.value==2
    p.buttons['next'].click(); p.buttons['next'].click(); p.buttons['next'].click()
    assert p.queue.item.item_id=='i4'
    p.buttons['previous'].click()
    assert p.queue.item.item_id=='i3'

def test_approving_a_changed_answer_is_an_edit_with_its_reason_and_tags():
    p = panel()
    p.answer.value, p.reason.value, p.tags.value = 'billing', 'wrong agent', ['routing', 'easy']
    assert 'ins' in Tags(p.diff.value).seen and p.buttons['approve'].description.startswith('Approve edit')
    p.press('approve')
    d, = p.queue.log
    assert (d.action, d.edited, d.reason, d.tags)==('edit', 'billing', 'wrong agent', ('routing', 'easy'))
    assert (p.answer.value, p.reason.value, p.tags.value, p.diff.value)==('orders', '', [], '') and p.buttons['approve'].description.startswith('Approve')

def test_rejecting_a_changed_answer_forgets_the_change():
    p = panel(); p.answer.value = 'billing'; p.press('reject')
    assert p.queue.log[0].edited is None

def test_going_back_shows_the_edit_and_approving_the_original_replaces_it():
    p = panel(); p.answer.value = 'billing'; p.press('approve'); p.press('previous')
    assert p.answer.value=='billing' and p.diff.value
    p.answer.value = 'orders'; p.press('approve')
    assert [d.action for d in p.queue.log]==['edit', 'approve'] and statuses(p)[0]=='approved'

def test_labels_make_the_answer_a_list_even_when_the_answer_is_not_in_it():
    p = panel(batch(labels=['billing', 'refunds']))
    assert p.answer.value=='orders' and set(p.answer.options)=={'billing', 'refunds', 'orders'}
    p.answer.value = 'refunds'; p.press('approve')
    assert p.queue.log[0].edited=='refunds'

def test_a_refused_edit_keeps_what_was_typed():
    p = panel(); p.answer.value, p.reason.value = '   ', 'hm'
    p.press('approve')
    assert 'needs text' in p.note.value and (p.answer.value, p.reason.value)==('   ', 'hm') and p.queue.log==[]
    p.answer.value = 'billing'; p.press('approve')
    assert p.note.value=='' and len(p.queue.log)==1

def test_an_item_that_changed_meanwhile_is_shown_again_and_can_then_be_decided(store):
    p = approval_panel(batch(), 'ana', guard_s=0, store=store)
    new = replace(batch().items[0], record=replace(batch().items[0].record, input='quite another question'))
    store.save(replace(batch(), items=[new, *batch().items[1:]]))
    p.press('approve')
    assert 'changed since it was shown' in p.note.value and 'quite another question' in p.body.value and store.decisions('b')==[]
    p.press('approve')
    assert store.load('b').items[0].status=='approved'

def test_when_all_is_decided_the_panel_says_so_for_a_filter_that_is_empty():
    p = panel(); p.status.value = 'rejected'
    assert 'Nothing in view' in p.body.value and p.buttons['approve'].disabled
    p.press('approve')
    assert p.queue.log==[]
    p.status.value = 'all'
    assert not p.buttons['approve'].disabled

# --- filters, table, bulk

def test_filters_change_the_view_and_not_the_batch():
    p = panel(batch(10))
    p.label.value = 'a'
    assert {i.label for i in p.queue.items}=={'a'}
    p.sure.value, p.order.value = (.5, 1), 'confidence'
    assert [i.item_id for i in p.queue.items]==['i6', 'i8'] and p.progress.max==10

def test_a_batch_without_labels_or_confidence_shows_no_filter_for_them():
    b = ApprovalBatch('b', [ReviewItem('x', InstructionExample('', 'q', 'a'))])
    views = panel(b).views.children
    assert [w.description for w in views[1:]]==['Status', 'Order']

def test_the_table_has_pages_and_opens_an_item():
    p = panel(batch(2*PAGE+1)); p.mode.value = 'table'
    assert len(p.rows.children)==PAGE
    p.turn[1].click(); p.turn[1].click(); p.turn[1].click()
    assert len(p.rows.children)==1 and p.turn[2].value.startswith('page 3 of 3')
    p.rows.children[0].children[1].click()
    assert p.mode.value=='card' and p.queue.item.item_id==f'i{2*PAGE}'

def test_bulk_asks_first_names_the_count_and_undoes_as_one():
    p = panel(batch(PAGE+5)); p.mode.value = 'table'
    p.all.value = True
    assert all(t.value for t in p.ticks.values())
    p.bulk['approve'].click()
    assert f'{PAGE+5} items' in p.question.value and p.sure_bar.layout.display is None and p.queue.log==[]
    p.no.click(); p.yes.click()
    assert p.queue.log==[] and p.sure_bar.layout.display=='none'
    p.bulk['approve'].click(); p.yes.click()
    assert p.queue.counts=={'approved': PAGE+5} and not p.all.value and p.picked==set()
    p.press('undo')
    assert p.queue.counts=={'pending': PAGE+5}

def test_ticks_outside_the_filter_are_not_decided():
    p = panel(batch(4)); p.mode.value = 'table'
    p.ticks['i0'].value = p.ticks['i1'].value = True
    p.label.value = 'a'
    p.bulk['reject'].click()
    assert 'Nothing is ticked' in p.note.value and p.asked is None

def test_a_question_is_taken_back_when_the_ticks_change():
    p = panel(batch(4)); p.mode.value = 'table'
    p.ticks['i0'].value = True; p.bulk['skip'].click(); p.ticks['i1'].value = True
    p.yes.click()
    assert p.queue.log==[]

# --- keys and races

@pytest.mark.parametrize('action,key', KEYMAP.items())
def test_every_key_does_something(action, key):
    p = panel(batch(3)); p.press('approve')
    before = (p.queue.at, len(p.queue.log), p.mode.value, p.note.value)
    sent = []
    if p.layer: p.layer.send = sent.append
    p.key(key, p.queue.item.item_id)
    assert (p.queue.at, len(p.queue.log), p.mode.value, p.note.value)!=before or sent

def test_keys_are_ignored_for_another_item_unknown_keys_and_decisions_in_the_table():
    p = panel()
    p.key('a', 'i1'); p.key('q', 'i0'); p.key(None, None)
    p.mode.value = 'table'; p.key('a', 'i0')
    assert p.queue.log==[]

def test_what_was_typed_comes_with_the_key():
    p = panel(); p.key('ctrl+Enter', 'i0', ['billing', 'because'])
    assert (p.queue.log[0].edited, p.queue.log[0].reason)==('billing', 'because')

def test_text_that_arrives_late_does_not_become_an_edit_of_the_next_item():
    p = panel(); old, reason = p.answer, p.reason
    p.key('ctrl+Enter', 'i0', ['billing', 'because'])
    old.value, reason.value = 'billing, late', 'late'
    assert (p.answer.value, p.reason.value, p.diff.value)==('orders', '', '')
    p.press('approve')
    assert [(d.action, d.edited, d.reason) for d in p.queue.log]==[('edit', 'billing', 'because'), ('approve', None, '')]

def test_a_press_right_after_an_item_appeared_is_not_counted():
    t = [as_time('2026-01-01T10:00:00Z')]
    p = ApprovalPanel(ReviewQueue(batch(), 'ana', clock=lambda: t[0]), guard_s=.15)
    t[0] += timedelta(seconds=1); p.press('approve'); p.press('approve'); p.press('reject')
    assert len(p.queue.log)==1
    t[0] += timedelta(seconds=.2); p.press('reject')
    assert len(p.queue.log)==2

def test_a_keymap_is_checked_and_shown():
    p = panel(keymap=dict(approve='y'))
    p.key('a', 'i0'); assert p.queue.log==[]
    p.key('y', 'i0'); assert len(p.queue.log)==1 and 'y approve' in p.help
    with pytest.raises(FtkitError, match='the actions are'): panel(keymap=dict(aprove='y'))
    with pytest.raises(FtkitError, match='more than one action'): check_shortcuts({**KEYMAP, 'approve': 'r'})

def test_without_anywidget_the_panel_works_with_buttons():
    code = '''
import sys; sys.modules['anywidget'] = None
from tests.test_widgets import *
p = panel(); p.buttons['approve'].click(); p.press('edit')
assert p.layer is None and p.buttons['approve'].description=='Approve' and p.counts.value=='1/3 · 1 approved'
'''
    subprocess.run([sys.executable, '-c', code], check=True, cwd=Path(__file__).parent.parent)

def test_with_anywidget_the_buttons_show_their_keys():
    if key_layer() is None: pytest.skip('anywidget is not installed')
    p = panel()
    assert p.buttons['approve'].description=='Approve (a)' and p.layer.item=='i0' and set(KEYMAP.values())<set(p.layer.hotkeys)
    p.press('skip'); assert p.layer.item=='i1'

# --- showing

RECORDS = [InstructionExample(NASTY, NASTY, NASTY), PreferencePair(NASTY, NASTY, NASTY), Triplet(NASTY, NASTY, NASTY), ConversationTrajectory('s', (ConversationTurn(0, NASTY, NASTY, '', ''), ConversationTurn(1, NASTY, NASTY, '', ''))),
           InstructionExample(NASTY, NASTY, NASTY, dict(messages=[dict(role='system', content=NASTY), dict(role=NASTY, content=NASTY), dict(role='assistant', content=None, tool_calls=[dict(id=NASTY)])]))]

@pytest.mark.parametrize('record', RECORDS)
def test_content_is_never_markup(record):
    html = show_record(record)
    assert not Tags(html).seen & {'script', 'img'} and NASTY in Tags(html).text
    q = ReviewQueue(ApprovalBatch('b', [ReviewItem('x', record, label=NASTY)], context=dict(guidelines=NASTY)), 'ana')
    p = ApprovalPanel(q, guard_s=0)
    p.mode.value = 'table'; p.say(NASTY)
    shown = [p.body.value, p.note.value, p.rows.children[0].children[2].value, snapshot(q), p._repr_mimebundle_()['text/html']]
    assert not any(Tags(h).seen & {'script', 'img'} for h in shown)

@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_a_diff_holds_both_texts_and_no_markup_of_its_own(a, b):
    html = word_diff(a, b)
    assert bool(html)==(a!=b) and Tags(html).seen<={'pre', 'del', 'ins'}
    if a!=b and '\r' not in a+b:
        class Sides(HTMLParser):
            def __init__(self): super().__init__(); self.tag, self.old, self.new = '', '', ''; self.feed(html)
            def handle_starttag(self, tag, attrs): self.tag = tag
            def handle_endtag(self, tag): self.tag = ''
            def handle_data(self, d):
                if self.tag!='ins': self.old += d
                if self.tag!='del': self.new += d
        s = Sides()
        assert (s.old, s.new)==(a, b)

def test_the_static_table_says_how_things_stood():
    p = panel(batch(25)); p.press('approve')
    html = p._repr_mimebundle_()['text/html']
    assert '1/25' in html and 'first 20 of 25 shown' in html and 'approved' in html

def test_a_panel_on_real_records_gives_annotations(store):
    real = [InstructionExample('i', f'q{k}', 'a', dict(span_id=f's{k}')) for k in range(2)]
    p = approval_panel(real, 'ana', guard_s=0, store=store)
    p.press('approve'); p.answer.value = 'b'; p.press('approve')
    notes = annotations(p.queue.batch, store.decisions(p.queue.batch.batch_id))
    assert [(a['span_id'], a['label'], a['metadata'].get('correction')) for a in notes]==[('s0', 'approved', None), ('s1', 'rejected', 'b')]

def test_headless_and_panel_leave_equal_records(tmp_path):
    from ftkit.data.approval import decide
    clock = lambda: as_time('2026-01-01T10:00:00Z')
    one, two = (ApprovalStore(f'sqlite:///{tmp_path}/{n}.db', clock) for n in 'ab')
    p = approval_panel(batch(), 'ana', guard_s=0, store=one)
    p.press('approve'); p.answer.value, p.reason.value, p.tags.value = 'billing', 'why', ['t']; p.press('approve'); p.press('reject'); p.press('undo')
    two.save(batch())
    for i,a,kw in (('i0', 'approve', {}), ('i1', 'edit', dict(edited='billing', reason='why', tags=['t'])), ('i2', 'reject', {}), ('i2', 'undo', {})): decide('b', i, a, 'ana', store=two, **kw)
    plain = lambda s: [replace(d, step='', seconds=None) for d in s.decisions('b')]
    assert plain(one)==plain(two) and one.load('b')==two.load('b')

def test_headless_and_the_terminal_leave_equal_records(tmp_path):
    from ftkit.data.approval import decide
    one, two = (ApprovalStore(f'sqlite:///{tmp_path}/{n}.db') for n in 'ab')
    for s in (one, two): s.save(batch())
    for i,a,kw in (('i0', 'approve', {}), ('i1', 'edit', dict(edited='billing')), ('i1', 'undo', {}), ('i1', 'skip', {}), ('i2', 'reject', dict(reason='why'))): decide('b', i, a, 'ana', store=one, **kw)
    done = subprocess.run([sys.executable, '-c', 'from ftkit.cli import app; app()', 'review', 'b', '--reviewer', 'ana'], input='a\ne billing\nu\ns\nr why\n', capture_output=True, text=True, env={**os.environ, 'FTKIT_DATABASE_URL': f'sqlite:///{tmp_path}/b.db'})
    assert done.returncode==0 and 'b: 1 of 3 approved' in done.stdout, done.stderr
    plain = lambda s: [replace(d, step='', seconds=None, at='') for d in s.decisions('b')]
    assert plain(one)==plain(two) and one.load('b')==two.load('b')

def test_two_people_share_a_queue(store):
    a, b = (approval_panel(batch(2), who, share=True, guard_s=0, store=store) for who in ('ana', 'ben'))
    assert (a.queue.at, b.queue.at)==('i0', 'i1')
    a.press('approve'); b.press('approve')
    assert store.load('b').done and 'Nothing in view' in a.body.value
