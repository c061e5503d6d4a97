"Corners of `ftkit.data.approval`: replay, voided decisions, crashes, two databases, the gate."
import asyncio, random, signal, subprocess, sys, time
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given, settings, strategies as st

from ftkit.core import FtkitError, as_time
from ftkit.records import ConversationTrajectory, ConversationTurn, InstructionExample, PreferencePair, Triplet
from ftkit.data import approval as ap
from ftkit.data.approval import (
    ApprovalOrchestrator, ApprovalStore, annotations, approved_records, decide, send_decisions, undo)
from ftkit.data.decisions import ApprovalBatch, Decision, ReviewItem, record_hash, replay, settle
from ftkit.data.gate import check_receipts, receipts_of, record_generated, require_approved
from ftkit.data.queue import ReviewQueue, reviewer_agreement, open_queue, reserve

pytest_plugins = ['pg']

def example(n, output='orders', **metadata): return InstructionExample('Route.', f'question {n}', output, dict(synthetic=True, **metadata))
def batch(n=3, reviewers=1, **context): return ApprovalBatch('b', [ReviewItem(f'i{k}', example(k)) for k in range(n)], reviewers, context)

@pytest.fixture
def store(tmp_path): return ApprovalStore(f'sqlite:///{tmp_path}/approvals.db')

# --- replay

ITEMS, PEOPLE = [f'i{k}' for k in range(3)], ['ana', 'ben']
presses = st.lists(st.tuples(st.sampled_from(ITEMS), st.sampled_from(PEOPLE), st.sampled_from(['approve', 'reject', 'edit', 'skip', 'undo']), st.sampled_from(['billing', 'orders'])), max_size=25)

def by_hand(sequence):
    "What should stand, worked out in another way: a list of everything said, shortened by undos."
    said = {}
    for item, who, action, text in sequence:
        mine = said.setdefault((item, who), [])
        if action=='undo':
            if mine: mine.pop()
            continue
        this = ('approve', None) if action=='edit' and text=='orders' else (action, text if action=='edit' else None)
        if not mine or mine[-1]!=this: mine.append(this)
    return {k: v for k,v in said.items() if v}

@settings(max_examples=80, deadline=None)
@given(presses)
def test_any_sequence_of_decisions_and_undos_equals_its_replay(sequence):
    store = ApprovalStore('sqlite:///:memory:')
    store.save(batch())
    for item, who, action, text in sequence:
        try: decide('b', item, action, who, edited=text if action=='edit' else None, store=store)
        except FtkitError as e: assert 'nothing to undo' in str(e) and action=='undo'
    stacks = replay(batch().items, store.decisions('b'))
    assert {k: [(d.action, d.edited) for d in s] for k,s in stacks.items() if s}==by_hand(sequence)
    assert store.load('b')==settle(store.load('b'), store.decisions('b'))

queue_presses = st.lists(st.one_of(st.tuples(st.sampled_from(['approve', 'reject', 'skip', 'undo']), st.just(0)), st.tuples(st.just('move'), st.integers(-3, 3)),
                                   st.tuples(st.just('edit'), st.integers(0, 5)), st.tuples(st.just('bulk'), st.integers(0, 4)), st.tuples(st.just('show'), st.sampled_from([None, 'pending', 'rejected']))), max_size=25)

def press(q, what, n):
    if what=='undo': return q.undo()
    if what=='move': return q.move(n)
    if what=='show': return q.show(status=n)
    if what=='bulk': return q.bulk('approve', ITEMS[:n])
    if q.item is None: return q
    return q.act(what, edited=f'text {n}' if what=='edit' else None)

@settings(max_examples=80, deadline=None)
@given(queue_presses)
def test_a_queue_in_memory_and_one_over_a_database_go_the_same_way(sequence):
    store = ApprovalStore('sqlite:///:memory:')
    pure, kept = ReviewQueue(batch(), 'ana'), open_queue(batch(), 'ana', store=store)
    for what, n in sequence:
        press(pure, what, n), press(kept, what, n)
        assert (pure.at, pure.counts)==(kept.at, kept.counts)
    again = open_queue('b', 'ana', store=store)
    assert again.counts==kept.counts and {k: d.says for k,d in again.mine.items()}=={k: d.says for k,d in kept.mine.items()}

@settings(max_examples=100, deadline=None)
@given(queue_presses)
def test_undoing_every_step_leads_back_to_the_start(sequence):
    q = ReviewQueue(batch(), 'ana')
    for what, n in sequence: press(q, what, n)
    for _ in range(len(sequence)+1): q.undo()
    assert q.counts=={'pending': 3}

def test_bulk_is_one_step_and_its_undo_brings_back_what_stood_before():
    q = ReviewQueue(batch(), 'ana').act('reject')
    q.bulk('approve', ITEMS)
    assert q.counts=={'approved': 3}
    assert q.undo().counts=={'rejected': 1, 'pending': 2}

def test_a_second_window_of_the_same_person_does_not_double(store):
    one, two = open_queue(batch(), 'ana', store=store), open_queue(batch(), 'ana', store=store)
    one.act('approve'), two.act('approve')
    assert len(store.decisions('b'))==1 and one.counts==two.counts

def test_the_queue_starts_at_the_first_undecided_item_again(store):
    open_queue(batch(), 'ana', store=store).act('approve').act('skip')
    assert open_queue('b', 'ana', store=store).at=='i2'

def test_after_a_decision_comes_the_next_one_even_when_the_view_loses_the_item():
    q = ReviewQueue(batch(5), 'ana').show(status='pending').go('i2')
    assert q.act('approve').at=='i3' and q.act('approve').act('approve').at=='i0'

def test_the_last_decision_stays_where_it_is():
    assert ReviewQueue(batch(2), 'ana').act('approve').act('approve').at=='i1'

def test_an_empty_view_has_no_item_and_refuses_a_decision():
    q = ReviewQueue(batch(), 'ana').show(status='rejected')
    assert q.item is None and q.items==[] and q.move(1).at is None
    with pytest.raises(FtkitError, match='no item in view'): q.act('approve')

def test_views_filter_and_sort():
    items = [ReviewItem('a', example(1), .9, 'x'), ReviewItem('b', example(2), None, 'y'), ReviewItem('c', example(3), .1, 'x')]
    q = ReviewQueue(ApprovalBatch('b', items), 'ana')
    assert [i.item_id for i in q.show(sort='confidence').items]==['c', 'a', 'b']
    assert [i.item_id for i in q.show(label='x').items]==['a', 'c']
    assert [i.item_id for i in q.show(confidence=(0, .5)).items]==['c']
    with pytest.raises(FtkitError, match='sort'): q.show(sort='colour')

def test_time_spent_is_measured_from_when_the_item_was_shown():
    t = [as_time('2026-01-01T10:00:00Z')]
    q = ReviewQueue(batch(), 'ana', clock=lambda: t[0])
    t[0] += timedelta(seconds=7)
    q.act('approve')
    t[0] += timedelta(seconds=2)
    q.act('reject')
    assert [d.seconds for d in q.log]==[7, 2]

def test_a_terminal_leaves_the_same_log_as_the_queue(store):
    lines, said = iter(['x', 'e  ', 'a fine', 'r two agents', 'u', 'e billing', 's', 'never read']), []
    q = ap.review(open_queue(batch(), 'ana', store=store), read=lambda prompt: next(lines), write=said.append)
    assert q.counts=={'approved': 1, 'edited': 1, 'skipped': 1} and next(lines)=='never read'
    assert [(d.action, d.edited, d.reason) for d in store.decisions('b')]==[('approve', None, 'fine'), ('reject', None, 'two agents'), ('undo', None, ''), ('edit', 'billing', ''), ('skip', None, '')]
    assert any('none of a, r' in s for s in said) and any('needs text' in s for s in said) and 'question 0' in said[0] and 'orders' in said[0]

# --- what is bound to what

def test_a_changed_item_needs_a_new_decision_and_the_old_text_is_no_longer_approved(store):
    store.save(batch()); decide('b', 'i0', 'approve', 'ana', store=store)
    old = batch().items[0].record
    assert require_approved([old], store)==[old]
    items = [replace(batch().items[0], record=replace(old, output='billing')), *batch().items[1:]]
    assert [i.status for i in store.save(ApprovalBatch('b', items)).items]==['pending']*3
    for r in (old, items[0].record):
        with pytest.raises(FtkitError, match='not approved'): require_approved([r], store)

def test_a_decision_on_text_that_changed_meanwhile_is_refused(store):
    q = open_queue(batch(), 'ana', store=store)
    store.save(ApprovalBatch('b', [replace(batch().items[0], record=example(99)), *batch().items[1:]]))
    with pytest.raises(FtkitError, match='changed since it was shown'): q.act('approve')
    assert store.decisions('b')==[]

@pytest.mark.parametrize('change', [dict(instruction='Do.'), dict(input='x'), dict(output='x'), dict(metadata=dict(synthetic=True, tools='[]')), dict(metadata=dict(synthetic=True, messages=[dict(role='user', content='x')]))])
def test_whatever_reaches_the_model_is_in_the_hash(change):
    assert record_hash(replace(example(1), **change))!=record_hash(example(1))

def test_a_pair_from_an_edit_is_prompted_like_the_example_it_came_from():
    from ftkit.data.formats import prompt_of
    b = ReviewQueue(batch(1), 'ana').act('edit', edited='billing')
    pair, = settle(b.batch, b.log).pairs
    for chat in (True, False): assert prompt_of(pair, chat)==prompt_of(batch(1).items[0].record, chat)

def test_equal_texts_in_different_kinds_of_record_are_different():
    assert record_hash(PreferencePair('a', 'b', 'c'))!=record_hash(Triplet('a', 'b', 'c'))

@pytest.mark.parametrize('record,answer', [(PreferencePair('p', 'good', 'bad'), 'chosen'), (Triplet('q', 'yes', 'no'), 'positive'),
    (ConversationTrajectory('s', (ConversationTurn(0, 'q', 'a', 't', 's1'), ConversationTurn(1, 'q', 'a', 't', 's2'))), None)])
def test_every_kind_of_record_is_stored_edited_and_let_through(record, answer, store):
    store.save(ApprovalBatch('k', [ReviewItem('x', record)]))
    assert store.load('k').items[0].record==record
    decide('k', 'x', 'edit', 'ana', edited='better', store=store)
    assert approved_records('k', store)[0].answer=='better' and record.answer!='better'

@pytest.mark.parametrize('text', ['', '  ', 'NUL \x00 in it', '<script>alert(1)</script>', 'half \ud83d a pair', '早上好 👋', 'x'*200_000])
def test_odd_text_is_kept_or_refused_but_never_breaks_the_store(text, store):
    store.save(batch())
    if not text.strip():
        with pytest.raises(FtkitError, match='needs text'): decide('b', 'i0', 'edit', 'ana', edited=text, store=store)
    else:
        clean = text.encode('utf-8', 'replace').decode()
        assert decide('b', 'i0', 'edit', 'ana', edited=text, store=store).items[0].edited in (text, clean)

def test_a_batch_refuses_double_ids_odd_names_and_nobody_to_read_it():
    with pytest.raises(FtkitError, match='unique'): ApprovalBatch('b', [ReviewItem('x', example(1)), ReviewItem('x', example(2))])
    with pytest.raises(FtkitError, match='batch_id'): ApprovalBatch('../b', [])
    with pytest.raises(FtkitError, match='at least 1'): ApprovalBatch('b', [], 0)

@pytest.mark.parametrize('name', ['', ' ', 'x'*201, 'a\nb', 'a\x00', None, 3])
def test_items_and_people_need_readable_names(name, store):
    with pytest.raises(FtkitError, match='item_id'): ReviewItem(name, example(1))
    store.save(batch())
    with pytest.raises(FtkitError, match='reviewer'): decide('b', 'i0', 'approve', name, store=store)

def test_one_unknown_item_in_a_list_stores_none_of_them(store):
    store.save(batch())
    with pytest.raises(FtkitError, match="no item 'i9'"): decide('b', ['i0', 'i9'], 'approve', 'ana', store=store)
    assert store.decisions('b')==[]

def test_edits_must_be_one_of_the_labels_and_an_edit_without_change_is_an_approval(store):
    store.save(batch(labels=['orders', 'billing']))
    with pytest.raises(FtkitError, match="did you mean 'billing'"): decide('b', 'i0', 'edit', 'ana', edited='biling', store=store)
    assert decide('b', 'i0', 'edit', 'ana', edited='orders', store=store).items[0].status=='approved'

# --- several people

def test_three_readers_settle_by_majority_and_two_who_differ_do_not(store):
    store.save(batch(1, reviewers=2))
    decide('b', 'i0', 'approve', 'ana', store=store)
    assert decide('b', 'i0', 'reject', 'ben', store=store).items[0].status=='disputed'
    assert decide('b', 'i0', 'reject', 'cai', store=store).items[0].status=='rejected'

@pytest.mark.parametrize('action', ['approve', 'reject', 'skip', 'undo'])
def test_the_bar_of_reviewers_is_never_lowered_once_somebody_decided(action, store):
    store.save(batch(1, reviewers=3)); store.save(batch(1, reviewers=2)) # nobody has decided
    decide('b', 'i0', 'approve' if action=='undo' else action, 'ana', store=store)
    if action=='undo': undo('b', 'ana', store)
    for lower in (lambda: store.save(batch(1)), lambda: open_queue(batch(1), 'ana', store=store), lambda: asyncio.run(ApprovalOrchestrator(store).submit_for_review(batch(1), wait=False))):
        with pytest.raises(FtkitError, match='submit it with reviewers=2 or more, or submit these records under another batch_id'): lower()
    assert store.load('b').reviewers==2 and not store.load('b').records

def test_a_higher_bar_opens_what_fewer_people_settled(store):
    store.save(batch(1)); decide('b', 'i0', 'approve', 'ana', store=store)
    assert store.save(batch(1, reviewers=2)).items[0].status=='pending'
    assert decide('b', 'i0', 'approve', 'ben', store=store).items[0].status=='approved'

def test_a_submission_without_the_labels_or_the_tenant_changes_nothing(store):
    store.save(batch(labels=['orders', 'billing'], tenant_id='acme')); decide('b', 'i0', 'approve', 'ana', store=store)
    with pytest.raises(FtkitError, match='made for answers among orders, billing'): store.save(batch(tenant_id='acme'))
    for tenant in (None, 'globex'):
        with pytest.raises(FtkitError, match='is not a batch of tenant'): store.save(batch(labels=['orders', 'billing'], tenant_id=tenant))
    assert store.load('b').context==dict(labels=['orders', 'billing'], tenant_id='acme')
    assert store.save(batch(labels=['orders', 'billing', 'returns'], tenant_id='acme', guidelines='x')).items[0].status=='approved'

def test_a_skip_is_no_verdict(store):
    store.save(batch(1, reviewers=2))
    decide('b', 'i0', 'approve', 'ana', store=store)
    assert decide('b', 'i0', 'skip', 'ben', store=store).items[0].status=='pending'

def test_two_people_get_different_items_until_a_reservation_expires(store):
    t = [as_time('2026-01-01T10:00:00Z')]; store.clock = lambda: t[0]
    store.save(batch(2))
    hold = lambda who: (reserve('b', who, minutes=10, store=store) or ReviewItem('none', example(0))).item_id
    assert [hold('ana'), hold('ben'), hold('cai'), hold('ana')]==['i0', 'i1', 'none', 'i0']
    t[0] += timedelta(minutes=11)
    assert hold('cai')=='i0'

def test_a_shared_queue_shows_nobody_what_another_is_reading(store):
    one, two = (open_queue(batch(3), who, share=True, store=store) for who in ('ana', 'ben'))
    assert (one.at, two.at)==('i0', 'i1')
    assert one.act('approve').at=='i2'
    assert two.act('approve').at is None and two.item is None

def test_kappa_equals_scikit_learn_on_the_items_in_common_and_is_none_without_variety():
    from sklearn.metrics import cohen_kappa_score
    rng = random.Random(1); b = batch(40, reviewers=2)
    a1, a2 = ([rng.choice(['approve', 'reject']) for _ in b.items] for _ in 'ab')
    log = [Decision(i.item_id, v, who, item_hash=i.hash) for who,vs in (('ana', a1), ('ben', a2[:30])) for i,v in zip(b.items, vs, strict=False)]
    row, = reviewer_agreement(b, log)
    assert row['items']==30 and row['kappa']==pytest.approx(cohen_kappa_score(a1[:30], a2[:30]))
    same = [Decision(i.item_id, 'approve', who, item_hash=i.hash) for who in PEOPLE for i in b.items]
    assert reviewer_agreement(b, same)[0]['kappa'] is None and reviewer_agreement(b, same)[0]['same']==1

# --- the gate

def test_the_gate_lets_pass_what_people_read_and_nothing_else(store):
    store.save(batch(4, labels=None))
    for i,a in (('i0', 'approve'), ('i1', 'reject'), ('i2', 'skip')): decide('b', i, a, 'ana', store=store)
    decide('b', 'i3', 'edit', 'ana', edited='billing', store=store)
    b = store.load('b')
    good = [*b.records, *b.pairs]
    assert [r.answer for r in good]==['orders', 'billing', 'billing'] and require_approved(good, store)==good
    for r in (example(1), example(2), example(3), example(0, messages=[dict(role='user', content='hidden')])):
        with pytest.raises(FtkitError, match='1 of 4 records are synthetic and not approved'): require_approved([*good, r], store)

def test_losing_the_flag_does_not_help(store):
    store.save(batch())
    naked = replace(batch().items[0].record, metadata={})
    with pytest.raises(FtkitError, match='not approved'): require_approved([naked], store)
    decide('b', 'i0', 'approve', 'ana', store=store)
    assert require_approved([naked], store)==[naked]

@pytest.mark.parametrize('claim', [{}, dict(synthetic=False), dict(span_id='a1'), dict(synthetic=False, span_ids=['a1', 'a2'], trace_id='t', messages=[dict(role='user', content='x')])])
def test_a_generated_row_is_known_by_its_texts_whatever_it_claims(claim, store):
    made = replace(example(1), metadata=dict(synthetic=True, messages=[dict(role='user', content='question 1')]))
    liar = replace(made, metadata=claim)
    assert require_approved([liar], store)==[liar], 'nothing is known of it yet'
    record_generated([made], store) # never submitted
    with pytest.raises(FtkitError, match='1 of 1 records are synthetic'): require_approved([liar], store)

def test_a_real_row_that_says_what_a_generated_one_says_needs_its_approval(store):
    store.save(batch(2))
    real = replace(batch().items[0].record, metadata=dict(span_id='a1'))
    other = replace(real, output='billing') # another answer to the same question is another row
    assert require_approved([other], store)==[other]
    with pytest.raises(FtkitError, match='1 of 2 records'): require_approved([other, real], store)
    decide('b', 'i0', 'approve', 'ana', store=store)
    assert require_approved([other, real], store)==[other, real]

def test_a_generated_item_that_was_replaced_in_its_batch_is_still_known(store):
    store.save(batch(1))
    store.save(ApprovalBatch('b', [ReviewItem('i0', replace(example(0), output='billing'))]))
    with pytest.raises(FtkitError, match='not approved'): require_approved([replace(example(0), metadata=dict(span_id='a1'))], store)

def test_an_edit_that_was_taken_back_does_not_train_under_another_name(store):
    store.save(batch(1))
    good = decide('b', 'i0', 'edit', 'ana', edited='billing', store=store)
    naked = [replace(r, metadata=dict(span_id='a1')) for r in good.records]
    assert require_approved(naked, store)==naked and require_approved(good.pairs, store)==good.pairs
    undo('b', 'ana', store)
    for r in (*naked, *good.records, *good.pairs, *(replace(p, metadata={**p.metadata, 'synthetic': False}) for p in good.pairs)):
        with pytest.raises(FtkitError, match='not approved'): require_approved([r], store)

@pytest.mark.parametrize('verdict', ['reject', 'skip', None])
def test_an_approval_in_one_batch_says_nothing_in_another(verdict, store):
    one, two = (store.save(replace(batch(1), batch_id=name)) for name in ('one', 'two'))
    passed = decide('one', 'i0', 'approve', 'ana', store=store).records
    if verdict: decide('two', 'i0', verdict, 'ana', store=store)
    there = two.items[0].record.noting(approval=dict(batch_id='two', item_id='i0', status='approved'))
    with pytest.raises(FtkitError, match='in batch two. A generated'): require_approved([there], store)
    with pytest.raises(FtkitError, match='in batch two. A generated'): require_approved([example(0)], store) # names no batch: what do all of them say?
    assert require_approved(passed, store)==passed
    decide('two', 'i0', 'approve', 'ana', store=store)
    assert len(require_approved([there, example(0), *passed], store))==3

def test_an_approval_belongs_to_its_item(store):
    "Two items of a batch with the same content are two questions, and may get two answers."
    store.save(ApprovalBatch('b', [ReviewItem('x', example(1)), ReviewItem('y', example(1))]))
    decide('b', 'x', 'approve', 'ana', store=store); decide('b', 'y', 'reject', 'ana', store=store)
    row = lambda item: example(1).noting(approval=dict(batch_id='b', item_id=item))
    assert require_approved([row('x')], store)
    for r in (row('y'), row('z'), example(1), example(1).noting(approval=dict(batch_id='none', item_id='x')), example(1).noting(approval=dict(batch_id=['b'], item_id='x'))):
        with pytest.raises(FtkitError, match='not approved'): require_approved([r], store)

def test_an_approval_of_another_tenant_does_not_count(store):
    for tenant in ('acme', 'globex'): store.save(replace(batch(1, tenant_id=tenant), batch_id=tenant))
    theirs = decide('globex', 'i0', 'approve', 'ana', store=store).records
    assert require_approved(theirs, store, 'globex')==theirs and require_approved([example(0)], store, 'globex')
    for r in (theirs[0], example(0)):
        with pytest.raises(FtkitError, match="not approved as they are for tenant 'acme'"): require_approved([r], store, 'acme')
    decide('acme', 'i0', 'approve', 'ana', store=store)
    decide('globex', 'i0', 'reject', 'ana', store=store)
    assert require_approved([example(0)], store, 'acme')

def test_a_database_from_before_the_table_of_generated_texts_still_knows_its_items(store):
    store.save(batch(1))
    with store.write() as c: c.execute(sa.text('DROP TABLE approval_generated'))
    again = ApprovalStore(str(store.engine.url))
    with pytest.raises(FtkitError, match='not approved'): require_approved([replace(example(0), metadata=dict(span_id='a1'))], again)

def test_claims_in_the_metadata_prove_nothing(store):
    liar = example(1, approval=dict(batch_id='b', status='approved'))
    with pytest.raises(FtkitError, match='not approved'): require_approved([liar], store)

# --- asking

def test_a_script_waits_and_a_notebook_does_not(store):
    from IPython.core.interactiveshell import InteractiveShell
    said = []
    asking = ApprovalOrchestrator(store, poll_s=.01, tell=said.append)
    InteractiveShell.instance() # what a kernel has
    try: assert not asyncio.run(asking.submit_for_review(batch())).done and 'ftkit review b' in said[0]
    finally: InteractiveShell.clear_instance()
    async def main():
        task = asyncio.ensure_future(asking.submit_for_review(batch()))
        await asyncio.sleep(.05)
        assert not task.done()
        decide('b', ITEMS, 'approve', 'ana', store=store)
        return await asyncio.wait_for(task, 5)
    assert len(asyncio.run(main()).records)==3

def test_waiting_has_an_end_that_keeps_what_was_decided(store):
    store.save(batch()); decide('b', 'i0', 'approve', 'ana', store=store)
    with pytest.raises(FtkitError, match='2 of 3 items in b are undecided'):
        asyncio.run(ApprovalOrchestrator(store, .01, lambda t: None).submit_for_review(batch(), wait=True, timeout_s=.05))
    assert store.load('b').items[0].status=='approved'

def test_annotations_are_made_for_verdicts_on_single_real_spans_only():
    real = [replace(example(k), metadata=dict(span_id=f's{k}')) for k in range(4)]
    b = ApprovalBatch('r', [*(ReviewItem(f'i{k}', r) for k,r in enumerate(real)), ReviewItem('p', PreferencePair('p', 'a', 'b', dict(span_ids=['s1', 's2']))), ReviewItem('m', example(9))])
    q = ReviewQueue(b, 'ana').act('approve', reason='good').act('reject', tags=['wrong']).act('edit', edited='billing').act('skip').act('approve').act('approve')
    rows = annotations(b, q.log)
    assert [(r['span_id'], r['label'], r['score'], r['explanation']) for r in rows]==[('s0', 'approved', 1., 'good'), ('s1', 'rejected', 0., None), ('s2', 'rejected', 0., None)]
    assert rows[2]['metadata']['correction']=='billing' and rows[1]['metadata']['tags']==['wrong'] and {r['kind'] for r in rows}=={'HUMAN'}

def test_annotations_are_what_the_extraction_reads():
    from ftkit.data.verdicts import AnnotationPolicy
    from ftkit.telemetry.spans import Annotation
    b = ApprovalBatch('r', [ReviewItem('x', replace(example(1), metadata=dict(span_id='s1')))])
    note = Annotation(**annotations(b, ReviewQueue(b, 'ana').act('edit', edited='billing').log)[0])
    assert AnnotationPolicy().correction(note)=='billing' and AnnotationPolicy().verdict(note) is False

# --- crashes and databases

CHILD = '''
import sys
from ftkit.data.approval import ApprovalStore
from ftkit.data.queue import open_queue
q = open_queue('b', 'ana', store=ApprovalStore(sys.argv[1]))
while q.item and q.item.status=='pending':
    done = q.at
    q.act('reject' if int(done[1:])%3==0 else 'approve', reason=done)
    print(done, flush=True)
'''

def survive(url, n=100, seed=0):
    "Decide on `n` items in a child that is killed again and again."
    store = ApprovalStore(url); store.save(batch(n))
    rng, acknowledged, kills = random.Random(seed), [], 0
    for _ in range(60):
        p = subprocess.Popen([sys.executable, '-c', CHILD, url], stdout=subprocess.PIPE, text=True)
        stop_after = rng.randint(1, 25)
        for k,line in enumerate(p.stdout, 1):
            acknowledged.append(line.strip())
            if k>=stop_after and not time.sleep(rng.random()*.01):
                p.send_signal(signal.SIGKILL); kills += 1
                acknowledged += [x.strip() for x in p.stdout if x.endswith('\n')]
                break
        if p.wait()==0: break
    return store, acknowledged, kills

def intact(store, acknowledged, n=100):
    log = store.decisions('b')
    assert sorted(d.item_id for d in log)==sorted(f'i{k}' for k in range(n)), 'lost or doubled'
    assert set(acknowledged)<=({d.item_id for d in log}) and len(set(acknowledged))==len(acknowledged)
    assert all(d.reason==d.item_id and d.action==('reject' if int(d.item_id[1:])%3==0 else 'approve') for d in log)

def test_kill_9_during_a_hundred_decisions_loses_and_doubles_none(tmp_path):
    store, acknowledged, kills = survive(f'sqlite:///{tmp_path}/a.db')
    assert kills>=4
    intact(store, acknowledged)

def test_four_processes_deciding_at_once_lose_nothing(tmp_path):
    url = f'sqlite:///{tmp_path}/a.db'
    ApprovalStore(url).save(batch(20))
    code = "import sys\nfrom ftkit.data.approval import *\ns=ApprovalStore(sys.argv[1])\nfor k in range(20): decide('b', f'i{k}', 'approve', sys.argv[2], store=s)"
    ps = [subprocess.Popen([sys.executable, '-c', code, url, f'p{n}']) for n in range(4)]
    assert [p.wait() for p in ps]==[0]*4
    log = ApprovalStore(url).decisions('b')
    assert len(log)==80==len({(d.item_id, d.reviewer) for d in log}) and [d.seq for d in log]==sorted({d.seq for d in log})

def test_an_unusable_address_is_one_clear_error(tmp_path):
    with pytest.raises(FtkitError, match='not a database address'): ApprovalStore('approvals.db')
    with pytest.raises(FtkitError, match='database .*mysql'): ApprovalStore('mysql://x@y/z')
    with pytest.raises(FtkitError, match='cannot be used'): ApprovalStore(f'sqlite:///{tmp_path}/no/such/folder/a.db')
    with pytest.raises(FtkitError, match='cannot be used') as e: ApprovalStore('postgresql://ana:secret@127.0.0.1:1/r')
    assert 'secret' not in str(e.value)

def test_the_default_database_is_under_home(tmp_path, monkeypatch):
    monkeypatch.setenv('FTKIT_HOME', str(tmp_path)); monkeypatch.delenv('FTKIT_DATABASE_URL', raising=False)
    ApprovalStore()
    assert (tmp_path/'approvals'/'approvals.db').exists()

def test_postgresql_behaves_like_the_file(postgres_url):
    store = ApprovalStore(postgres_url)
    store.save(batch(3, labels=['orders', 'billing']))
    decide('b', 'i0', 'approve', 'ana', store=store); decide('b', 'i1', 'edit', 'ana', edited='billing', tags=['x'], store=store)
    undo('b', 'ana', store)
    b = store.load('b')
    assert [i.status for i in b.items]==['approved', 'pending', 'pending'] and require_approved(b.records, store)
    assert reserve('b', 'ben', store=store).item_id=='i1'

def test_kill_9_on_postgresql_loses_and_doubles_none(postgres_url):
    store, acknowledged, kills = survive(postgres_url, seed=1)
    intact(store, acknowledged)

def test_deciding_in_a_thousand_items_stays_quick():
    store = ApprovalStore('sqlite:///:memory:')
    q = open_queue(batch(1000), 'ana', store=store)
    t = time.perf_counter()
    for _ in range(20): q.act('approve')
    assert (time.perf_counter()-t)/20 < .5

def test_decisions_on_real_spans_reach_phoenix_once_and_are_learned_from(phoenix_server, store):
    from ftkit.data.extract import TraceToInstructionConverter
    from ftkit.telemetry.samples import telemetry
    from ftkit.telemetry.spans import renewed
    from ftkit.telemetry.http import PhoenixProvider
    from ftkit.telemetry.sending import send
    spans, _ = renewed(*telemetry('routing', n=12), key='decided')
    asyncio.run(send(spans, project='decided', endpoint=phoenix_server.endpoint))
    provider = PhoenixProvider('acme', 'decided', phoenix_server.endpoint)
    calls = [s for s in spans if s.kind=='LLM' and s.agent_type=='routing'][:3]
    records = [InstructionExample('Route.', str(n), 'orders', dict(span_id=s.span_id)) for n,s in enumerate(calls)]
    store.save(ApprovalBatch('decided', [ReviewItem(f'i{n}', r) for n,r in enumerate(records)]))
    for n,(action,text) in enumerate((('approve', None), ('edit', 'refunds'), ('reject', None))): decide('decided', f'i{n}', action, 'ana', text, reason='read', store=store)
    assert [asyncio.run(send_decisions('decided', provider, store=store)) for _ in range(2)]==[3, 3]
    notes = asyncio.run(provider.annotations.get_annotations([s.span_id for s in calls]))
    assert sorted(zip(notes.index, notes['result.label']))==sorted(zip([s.span_id for s in calls], ('approved', 'rejected', 'rejected'))) and set(notes['annotator_kind'])=={'HUMAN'}
    learned = {r.metadata['span_id']: r.output for r in asyncio.run(TraceToInstructionConverter(provider).convert('decided', 'routing'))}
    assert set(learned)=={calls[0].span_id, calls[1].span_id} and learned[calls[1].span_id]=='refunds'
    with pytest.raises(FtkitError, match='no decision on a real span'): asyncio.run(send_decisions(store.save(ApprovalBatch('made-up', [ReviewItem('x', example(1))])).batch_id, provider, store=store))

# --- receipts

def test_a_receipt_says_who_let_which_content_through_and_when(store):
    real = InstructionExample('Route the request.', 'hi', 'orders', dict(span_id='a1'))
    store.save(batch(3, reviewers=2))
    for who in ('ana', 'ben'): decide('b', 'i0', 'approve', who, store=store)
    decide('b', 'i1', 'edit', 'ana', edited='billing', store=store)
    good = decide('b', 'i1', 'edit', 'ben', edited='billing', store=store)
    rows = [real, *good.records, *good.pairs]
    receipts = receipts_of(rows, store)
    log = {(d.item_id, d.reviewer): d for d in store.decisions('b')}
    assert [(r.item_id, r.reviewer) for r in receipts]==[('i0', 'ana'), ('i0', 'ben'), ('i1', 'ana'), ('i1', 'ben'), ('i1', 'ana'), ('i1', 'ben')]
    assert {r.hash for r in receipts}==set(map(record_hash, rows[1:])), 'the edited row and its pair have receipts of their own'
    assert all((r.decision, r.time)==(log[r.item_id, r.reviewer].action, log[r.item_id, r.reviewer].at) and r.batch_id=='b' for r in receipts)
    assert check_receipts(rows, receipts)==receipts and receipts_of([real], store)==receipts_of([], store)==[]

def test_a_verdict_that_was_outvoted_gives_no_receipt(store):
    store.save(batch(1, reviewers=3))
    for who,said in (('ana', 'approve'), ('ben', 'reject'), ('cai', 'approve')): good = decide('b', 'i0', said, who, store=store)
    assert [r.reviewer for r in receipts_of(good.records, store)]==['ana', 'cai']

def test_no_receipt_is_written_for_what_the_gate_refuses(store):
    store.save(batch(2))
    good = decide('b', 'i0', 'approve', 'ana', store=store).records
    with pytest.raises(FtkitError, match='1 of 2 records are synthetic and not approved'): receipts_of([*good, example(1)], store)
    undo('b', 'ana', store)
    with pytest.raises(FtkitError, match='not approved'): receipts_of(good, store)

def test_a_row_that_names_no_item_gets_the_receipts_of_an_item_with_its_content(store):
    store.save(batch(2))
    decide('b', 'i0', 'approve', 'ana', store=store)
    naked = replace(example(0), metadata=dict(span_id='a1')) # lost its flag in a file
    receipts = receipts_of([example(0), naked], store)
    assert [(r.batch_id, r.item_id) for r in receipts]==[('b', 'i0')] and check_receipts([naked], receipts)==receipts

def test_receipts_of_another_tenants_batch_are_not_written(store):
    for tenant in ('acme', 'globex'): store.save(replace(batch(1, tenant_id=tenant), batch_id=tenant)); decide(tenant, 'i0', 'approve', tenant, store=store)
    assert [[r.reviewer for r in receipts_of([example(0)], store, tenant)] for tenant in ('acme', 'globex')]==[['acme'], ['globex']]

def test_rows_and_receipts_are_compared_without_a_database(store):
    store.save(batch(2))
    decide('b', 'i0', 'approve', 'ana', store=store)
    one, two = decide('b', 'i1', 'approve', 'ana', store=store).records
    first, second = receipts_of([one, two], store)
    def refused(records, receipts):
        with pytest.raises(FtkitError) as e: check_receipts(records, receipts)
        return str(e.value)
    assert '1 of 2 records are synthetic and have no approval receipt: ' in refused([one, two], [first])
    assert 'the receipt of item i1 in batch b' in refused([one], [first, second]) and 'fits no row' in refused([one], [first, second])
    assert 'fits no row' in refused([replace(one, output='billing')], [first]), 'the content changed after the approval'
    assert "says 'reject'" in refused([one], [replace(first, decision='reject')])
    assert 'is of another item than its row names: i0 in batch b' in refused([one], [replace(first, item_id='i1')])
    assert check_receipts([one.noting(span_id='s')], [first]), 'metadata that is never learned is not part of the content'
