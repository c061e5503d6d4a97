"Whole evaluations on real models: every task, both kinds of tuning, the cache, and everything that can go wrong."
import json, shutil
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip('torch')
torch.set_num_threads(1) # small models gain nothing from more, and lose a lot on a busy machine
from ftkit.core import FtkitError, plain
from ftkit.disk import home
from ftkit.records import InstructionExample, PreferencePair, Triplet
from ftkit.data.certificate import certificate
from ftkit.evals import compare as C, stats as S
from ftkit.runs.experiment import as_attributes
from ftkit.model.load import load_base, quietly
from ftkit.model.prompt import answer_ids, padded, to_ids
from ftkit.model.tiny import random_base

FRUIT = dict(apple='red', banana='yellow', kiwi='green', plum='blue')
CPU = dict(dtype='float32', device='cpu', timed_rows=0)


def ask(n, word=None, **metadata):
    fruit = sorted(FRUIT)[n%4]
    return InstructionExample('Colour?', f'{fruit} {n}', word or FRUIT[fruit], dict(session_id=f's{n//2}', **metadata))


ROWS = [ask(n) for n in range(120)]


@pytest.fixture(scope='module')
def base(tmp_path_factory): return shutil.copytree(random_base(), tmp_path_factory.mktemp('base')/'base')


@pytest.fixture(scope='module')
def adapter(base, tmp_path_factory):
    from peft import LoraConfig, get_peft_model
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules=['q_proj', 'v_proj'], init_lora_weights=False, task_type='CAUSAL_LM')
    out = tmp_path_factory.mktemp('adapter')/'adapter'
    with quietly(): get_peft_model(load_base(base, 'float32', 'cpu').model, config).save_pretrained(out)
    return out


@pytest.fixture(scope='module')
def taught(base, tmp_path_factory):
    "All weights of the random base, taught by hand until it knows its colours."
    m = load_base(base, 'float32', 'cpu')
    items = [(to_ids(m.tokenizer, C.prompt_for(m, r)), answer_ids(m.tokenizer, C.prompt_for(m, r), r.output)) for r in ROWS[60:]]
    optimizer, rng = torch.optim.AdamW(m.model.parameters(), lr=5e-3), np.random.default_rng(0)
    for _ in range(120):
        some = [items[i] for i in rng.choice(len(items), 16)]
        x, mask, pos = padded([p+a for p,a in some], 0)
        y = torch.full_like(x, -100)
        for i,(_,a) in enumerate(some): y[i, -len(a):] = x[i, -len(a):]
        m.model(input_ids=x, attention_mask=mask, position_ids=pos, labels=y).loss.backward()
        optimizer.step(); optimizer.zero_grad()
    out = tmp_path_factory.mktemp('taught')/'model'
    with quietly(): m.model.save_pretrained(out)
    m.tokenizer.save_pretrained(out)
    return out


def test_a_model_that_learned_is_found_better_with_all_figures(base, taught):
    r = C.evaluate(base, taught, ROWS[:60], trained_on=ROWS[60:], agent_type='routing', certificate=None, **{**CPU, 'timed_rows': 2})
    assert (r.task, r.verdict, r.improvement_significant, r.test_size)==('labels', 'better', True, 50)
    assert r.adapter_metrics['accuracy']>.9 and r.adapter_metrics['generated_accuracy']>.9 and r.adapter_metrics['hallucination_rate']<.1 and r.base_metrics['hallucination_rate']==1
    assert r.adapter_metrics['latency_ms']>0 and r.improvements['latency_ms']==pytest.approx(r.adapter_metrics['latency_ms']-r.base_metrics['latency_ms'])
    assert r.comparisons['latency_ms']['adapter']==pytest.approx(r.adapter_metrics['latency_ms']) and -r.comparisons['latency_ms']['difference']==pytest.approx(r.improvements['latency_ms']), 'advice, table and interval speak of the same figure'
    assert r.guards['hallucination_rate']=='kept' and len(r.details['reliability']['adapter'])==10 and r.examples[0]['base']!=r.examples[0]['adapter']
    a = as_attributes(r)
    assert a['metrics.adapter.accuracy']==r.adapter_metrics['accuracy'] and a['improvement.significant'] is True and a['evaluation.test_size']==50 and a['evaluation.agent_type']=='routing'
    assert {f'metrics.{s}.{k}' for s in ('base', 'adapter') for k in ('accuracy', 'confidence', 'error_rate', 'hallucination_rate', 'latency_ms')}<=set(a)
    assert {f'improvement.{k}' for k in ('accuracy', 'confidence', 'error_reduction', 'latency_overhead', 'significant', 'p_value')}<=set(a)
    json.dumps(plain(r), allow_nan=False)
    assert '**better: accuracy' in r._repr_markdown_() and str(r).startswith('better: accuracy')


def test_the_same_model_twice_is_never_better(base, taught):
    r = C.evaluate(taught, shutil.copytree(taught, taught.parent/'twin'), ROWS[:60], **CPU)
    assert (r.verdict, r.improvement_significant, r.p_value)==('cannot tell', False, 1) and r.need>50


def test_a_model_that_forgot_is_found_worse_and_says_to_keep_the_base(base, taught):
    r = C.evaluate(taught, base, ROWS[:60], **CPU)
    assert r.verdict=='worse' and any('leave the base in place' in a for a in r.advice) and not r.improvement_significant


def test_base_and_adapter_in_one_model_equal_two_models(base, adapter):
    pair = C.open_pair(base, adapter, 'float32', 'cpu')
    with pair.off(): inside = C.fill_sheet(pair.base, ROWS[:8], 'labels', ('red', 'blue'), 6)
    assert inside==C.fill_sheet(load_base(base, 'float32', 'cpu'), ROWS[:8], 'labels', ('red', 'blue'), 6)
    assert C.fill_sheet(pair.adapter, ROWS[:8], 'labels', ('red', 'blue'), 6)!=inside


def test_the_base_is_asked_once_and_again_when_anything_that_matters_changes(base, adapter, tmp_path, monkeypatch):
    monkeypatch.setenv('FTKIT_HOME', str(tmp_path/'home'))
    run = lambda b=base, rows=ROWS[:20], **kw: C.evaluate(b, adapter, rows, trained_on=ROWS[20:], **{**CPU, **kw})
    first, second = run(), run()
    assert [r.details['base_from_cache'] for r in (first, second)]==[False, True] and second.base_metrics==first.base_metrics
    assert not run(rows=ROWS[1:21]).details['base_from_cache']
    assert not run(task='text').details['base_from_cache']
    assert not run(dtype='bfloat16').details['base_from_cache']
    other = shutil.copytree(base, tmp_path/'other')
    assert run(b=other).details['base_from_cache'] # the same content under another name
    (other/'generation_config.json').write_text('{}')
    assert not run(b=other).details['base_from_cache']
    assert not run(cache=False).details['base_from_cache']


def test_a_damaged_memory_is_made_again(base, adapter, tmp_path, monkeypatch):
    monkeypatch.setenv('FTKIT_HOME', str(tmp_path/'home'))
    first = C.evaluate(base, adapter, ROWS[:8], **CPU)
    (kept,) = home('evaluations').glob('*.json')
    kept.write_text(kept.read_text()[:100])
    again = C.evaluate(base, adapter, ROWS[:8], **CPU)
    assert not again.details['base_from_cache'] and again.base_metrics==first.base_metrics


@pytest.mark.parametrize('failed, known', [('no room', False), (None, True)])
def test_answers_with_a_row_that_failed_are_not_kept(tmp_path, monkeypatch, failed, known):
    monkeypatch.setenv('FTKIT_HOME', str(tmp_path/'home'))
    assert [C.remembered('a question', lambda: dict(failed=[None, failed]))[1] for _ in range(2)]==[False, known]


def likelihoods(rng, n, failed):
    "What a model might have said about n pairs"
    columns = dict(chosen=-rng.random(n), rejected=-rng.random(n), chosen_tokens=np.full(n, 3.), rejected_tokens=np.full(n, 2.))
    return dict({k: [None if i in failed else float(x) for i,x in enumerate(v)] for k,v in columns.items()}, failed=['no room' if i in failed else None for i in range(n)])


def test_a_row_that_one_could_not_read_is_left_out_for_both_and_with_its_session():
    rng, rows = np.random.default_rng(0), [PreferencePair(f'q{n}', 'a', 'b', dict(session_id=f's{n//3}')) for n in range(60)]
    sheets = likelihoods(rng, 60, {0, 1, 2}), likelihoods(rng, 60, {5})
    found, both = C.judged(sheets, rows, 'preference', base='b', adapter='a').comparisons, [n for n in range(60) if n not in (0, 1, 2, 5)]
    want = S.compare_paired(*([float(s['chosen'][n]>s['rejected'][n]) for n in both] for s in sheets), [f's{n//3}' for n in both])
    assert (want.n, want.clusters)==(56, 19) and {k: found['accuracy'][k] for k in plain(want)}==plain(want)
    p = [c['p_value'] for c in found.values()]
    assert [c['p_holm'] for c in found.values()]==S.holm(p)!=p, 'several metrics are several chances of a false alarm'


def test_a_card_shows_shares_and_gains_with_their_intervals():
    rng, rows = np.random.default_rng(1), [PreferencePair(f'q{n}', 'a', 'b') for n in range(50)]
    r = C.judged((likelihoods(rng, 50, {}), likelihoods(rng, 50, {})), rows, 'preference', base='b', adapter='a')
    card, found = C.card_figures(r), r.comparisons['accuracy']
    share = round(found['adapter']*50)
    assert card['accuracy']==dict(value=share/50, **dict(zip(('low', 'high'), S.wilson(share, 50))), n=50) and card['margin']['low'] is None
    assert card['gain in accuracy']==dict(value=found['difference'], low=found['low'], high=found['high'], n=50)


def test_structured_and_free_text_are_measured_in_their_own_way(base, adapter):
    shape = [ask(n, f'{{"colour": "{n}"}}') for n in range(12)]
    r = C.evaluate(base, adapter, shape, **CPU)
    assert r.task=='structured' and {'f1', 'precision', 'recall', 'parse_rate', 'mean_logprob'}<=set(r.adapter_metrics) and r.decides=='f1'
    t = C.evaluate(base, adapter, [ask(n, f'It is the colour number {n}.') for n in range(12)], **CPU)
    assert t.task=='text' and t.decides=='chrf' and {'chrf', 'token_f1', 'exact_match', 'mean_logprob'}<=set(t.adapter_metrics)
    assert as_attributes(t)['metrics.base.accuracy']==t.base_metrics['chrf']


def test_a_gain_in_likelihood_shows_in_free_text(base, taught):
    r = C.evaluate(base, taught, ROWS[:40], task='text', decides='mean_logprob', **CPU)
    assert r.verdict=='better' and r.comparisons['token_f1']['difference']>.5


def test_preferences_are_judged_by_likelihood(base, taught):
    pairs = [PreferencePair('', r.output, 'violet', dict(r.metadata, messages=[dict(role='system', content='Colour?'), dict(role='user', content=r.input)])) for r in ROWS[:40]]
    r = C.evaluate(base, taught, pairs, **CPU)
    assert r.task=='preference' and r.adapter_metrics['accuracy']==1 and r.comparisons['accuracy']['verdict'] in ('better', 'cannot tell')


def test_tools_reach_the_prompt(base):
    m = load_base(base, 'float32', 'cpu')
    r = ask(1, tools=json.dumps([dict(type='function', function=dict(name='find_order', parameters={}))]))
    assert C.prompt_for(m, r)['tools'] and 'find_order' in m.tokenizer.decode(to_ids(m.tokenizer, C.prompt_for(m, r)))


def test_a_tokenizer_without_a_template_reads_plain_text(base, adapter, tmp_path):
    bare = shutil.copytree(base, tmp_path/'bare')
    (bare/'chat_template.jinja').unlink()
    r = C.evaluate(bare, adapter, ROWS[:12], **CPU)
    assert r.task=='labels' and r.adapter_metrics['error_rate']==0
    assert '### Response:' in C.prompt_for(load_base(bare, 'float32', 'cpu'), ROWS[0])


def test_a_row_that_cannot_be_read_costs_only_itself(base, adapter):
    long = replace(ROWS[3], input='apple '*3000)
    r = C.evaluate(base, adapter, [*ROWS[:9], long], trained_on=ROWS[10:], **CPU)
    assert r.adapter_metrics['error_rate']==pytest.approx(.1) and any('do not fit' in w for w in r.warnings) and r.test_size==10
    assert as_attributes(r)['improvement.error_reduction']==0


def test_when_no_row_can_be_read_the_reason_is_given(base, adapter):
    r = C.evaluate_safely(base, adapter, [replace(ROWS[n], input=f'{n} '*3000) for n in range(3)], **CPU)
    assert r.task=='none' and 'do not fit' in r.warnings[0]


@pytest.mark.parametrize('what', ['no rows', 'no base', 'no adapter', 'bad task', 'bad metric', 'a leak', 'another split'])
def test_whatever_goes_wrong_is_a_warning_and_not_an_error(what, base, adapter, tmp_path):
    given = dict(base=base, adapter=adapter, examples=ROWS[:8], **CPU)
    given |= {'no rows': dict(examples=[]), 'no base': dict(base='acme/nowhere'), 'no adapter': dict(adapter=tmp_path), 'bad task': dict(task='poetry'), 'bad metric': dict(decides='elegance'),
              'a leak': dict(certificate=certificate(ROWS[:8], ROWS[:8])), 'another split': dict(certificate=certificate(ROWS[40:60], ROWS[20:28]))}[what]
    says = {'no rows': 'no test data', 'no base': 'neither a folder', 'no adapter': 'neither an adapter', 'bad task': 'is not one of', 'bad metric': 'is not one of', 'a leak': 'leaks', 'another split': 'does not cover'}[what]
    r = C.evaluate_safely(**given)
    assert r.task=='none' and says in r.warnings[0] and not r.improvement_significant and r.verdict=='cannot tell'
    assert as_attributes(r)['evaluation.verdict']=='cannot tell' and 'not evaluated' in str(r) and r._repr_markdown_()
    r.save(tmp_path); assert C.EvaluationResult.load(tmp_path)==r
    with pytest.raises(Exception): C.evaluate(**given) # noqa: B017 the unsafe one says it aloud


def test_a_valid_certificate_is_accepted_and_its_absence_is_mentioned(base, adapter):
    apart = [ask(n, **{'messages': [dict(role='user', content=w)]}) for n,w in enumerate(('the lift is stuck', 'which bus goes north', 'a poem about rain', 'count the spoons'))]
    cert = certificate([replace(r, metadata=dict(session_id='other')) for r in ROWS[50:60]], apart)
    assert cert.ok
    assert not any('certificate' in w for w in C.evaluate(base, adapter, apart, certificate=cert, **CPU).warnings)
    assert any('certificate' in w for w in C.evaluate(base, adapter, apart, **CPU).warnings)


def test_copies_of_test_rows_count_once_and_are_mentioned(base, adapter):
    once, many = (C.evaluate(base, adapter, rows, trained_on=ROWS, **CPU) for rows in (ROWS[:12], ROWS[:12]*5))
    assert many.test_size==12 and many.comparisons==once.comparisons and any('48 of 60' in w for w in many.warnings)


def test_an_adapter_that_does_nothing_is_named(base, adapter, tmp_path):
    from safetensors.torch import load_file, save_file
    idle = shutil.copytree(adapter, tmp_path/'idle')
    put = lambda times: save_file({k: v*times if 'lora_B' in k else v for k,v in load_file(adapter/'adapter_model.safetensors').items()}, idle/'adapter_model.safetensors')
    put(1e-30) # not zero, and lost in every sum
    r = C.evaluate(base, idle, ROWS[:8], **CPU)
    assert any('does nothing' in w for w in r.warnings) and r.p_value==1 and r.base_metrics==r.adapter_metrics
    put(0)
    assert 'changes nothing' in C.evaluate_safely(base, idle, ROWS[:8], **CPU).warnings[0]


def test_the_sample_is_the_same_in_any_order_and_mostly_the_same_after_growth():
    few, _ = C.sample_rows(ROWS[:100], 50)
    more, _ = C.sample_rows(ROWS[::-1], 50)
    assert C.sample_rows(ROWS[99::-1], 50)[0]==few and len({r.input for r in few}&{r.input for r in more})>=35 and C.sample_rows(ROWS, 50, seed=1)[0]!=more


def test_rows_are_shaped_as_for_training_and_losses_are_mentioned(base, adapter):
    half = lambda rows, tokenizer: [replace(r, instruction='C?') for r in rows if tokenizer and int(r.input.split()[1])%2]
    r = C.evaluate(base, adapter, ROWS[:20], trained_on=ROWS, fit=half, **CPU)
    assert r.test_size==10 and any('10 of 20 test rows are too long' in w for w in r.warnings)
    assert 'none of the 20' in C.evaluate_safely(base, adapter, ROWS[:20], fit=lambda rows, tokenizer: [], **CPU).warnings[0]


def test_the_output_space_comes_from_training_rows_too(base, adapter):
    r = C.evaluate(base, adapter, ROWS[:6], trained_on=[*ROWS[6:], ask(0, 'violet')], **CPU)
    assert set(r.details['labels'])=={*FRUIT.values(), 'violet'}


def test_few_examples_are_not_mistaken_for_labels_and_long_answers_never_are():
    assert C.task_of(ROWS[:4])=='text' and C.task_of([ask(n, 'a long answer\nin two lines') for n in range(30)])=='text' and C.task_of([])=='text'
    assert C.task_of([ask(n, f'{{"a": {n%3}}}') for n in range(30)])=='labels' and C.task_of([ask(n, f'{{"a": {n}}}') for n in range(30)])=='structured'


def test_overfitting_and_slow_answers_get_their_advice():
    assert any('overfitting' in a for a in C.advice_of(.1, 'better', losses=(1., 1.2))) and not C.advice_of(.1, 'better', losses=(1., 1.05))
    assert any('merge the adapter' in a for a in C.advice_of(.1, 'better', overhead_ms=51)) and not C.advice_of(.1, 'better', overhead_ms=49, hallucination=.1)
    assert 'may still be chance' in C.advice_of(.08, 'not worse')[0] and not C.advice_of(.08, 'better')
    assert not C.advice_of(.1, 'better', losses=(None, 1.)) and any('under 5' in a for a in C.advice_of(.049, 'better'))


def test_a_significant_gain_of_four_points_is_better_but_not_an_improvement():
    found = {'accuracy': dict(base=.5, adapter=.54, difference=.04, low=.01, high=.07, p_value=.01, verdict='better', need=None, n=2000, clusters=2000, test='exact McNemar', p_holm=.01)}
    r = C.conclude(found, (dict(accuracy=.5), dict(accuracy=.54)), 'accuracy', task='labels', base='b', adapter='a', test_size=2000)
    assert r.verdict=='better' and not r.improvement_significant and 'under 5' in r.advice[0]


def test_latency_is_guarded_from_five_timings_on_and_other_figures_from_thirty_rows():
    c = dict(n=8, clusters=8, base=10., adapter=11., difference=-1., low=-2., high=0., p_value=.5, verdict='cannot tell', p_holm=None)
    assert C.guards_of(dict(latency_ms=c, brier=dict(c, low=-.01)))==dict(brier='cannot tell', latency_ms='kept')
    assert C.guards_of(dict(latency_ms=dict(c, low=-90., high=-60.)))==dict(latency_ms='lost')


def test_timing_takes_turns():
    seen, ticks = [], iter(np.arange(0, 1000, .001))
    ms = C.timed(['a', 'b'], lambda p: seen.append(('base', p)), lambda p: seen.append(('adapter', p)), clock=lambda: next(ticks))
    assert seen==[('base', 'a'), ('adapter', 'a'), ('adapter', 'b'), ('base', 'b')] and np.allclose(ms, 1)
    assert C.timed([], None, None)==([], []) and C.timed_again([], [], None, None)==([], [])


def test_a_base_that_was_timed_before_is_timed_on_two_requests_and_scaled_to_todays_pace(base, adapter, monkeypatch, tmp_path):
    seen, now = [], [0.]
    def spend(who, ms): return lambda p: (seen.append(who), now.__setitem__(0, now[0]+ms/1000))
    ms = C.timed_again(list('abcd'), [10, 10, 20, 40], spend('base', 20), spend('adapter', 30), clock=lambda: now[0])
    assert seen.count('base')==2 and seen.count('adapter')==4 and np.allclose(ms, [[20, 20, 40, 80], [30]*4])
    monkeypatch.setenv('FTKIT_HOME', str(tmp_path/'home'))
    first, second = (C.evaluate(base, adapter, ROWS[:12], **{**CPU, 'timed_rows': 5}) for _ in range(2))
    assert second.details['base_from_cache'] and second.base_metrics['latency_ms']>0 and 'latency_ms' in second.guards and len(json.loads(next(home('evaluations').glob('*.json')).read_text())['ms'])==5
    assert C.evaluate(base, adapter, ROWS[:12], **{**CPU, 'timed_rows': 8}).base_metrics['latency_ms']>0 # more requests than were timed before


def test_a_judge_scores_both_without_knowing_whose_answer_it_reads(base, taught):
    said = []
    def judge(prompt, answer, approved): said.append((prompt, answer)); return float(answer.strip()==approved)
    r = C.evaluate(base, taught, ROWS[:40], task='text', judge=judge, decides='judge_score', **CPU)
    assert r.verdict=='better' and r.adapter_metrics['judge_score']>.9 and r.base_metrics['judge_score']==0 and len(said)==80


@pytest.mark.parametrize('lora', [True, False])
def test_embedders_are_compared_on_retrieval(base, tmp_path, lora, monkeypatch):
    from peft import LoraConfig
    from ftkit.model.embed import load_embedder
    monkeypatch.setenv('FTKIT_HOME', str(tmp_path/'home'))
    tuned = load_embedder(base, device='cpu')
    torch.manual_seed(0)
    if lora: tuned.add_adapter(LoraConfig(r=4, target_modules=['q_proj', 'v_proj'], init_lora_weights=False))
    else: [p.data.add_(.05*torch.randn_like(p)) for p in tuned.parameters()]
    with quietly(): tuned.save_pretrained(str(tmp_path/'tuned'))
    triplets = [Triplet(f'colour of {f}', f'{f} is {c}', f'{f} is not {c}', dict(session_id=f)) for f,c in FRUIT.items()]
    run = lambda: C.evaluate(base, tmp_path/'tuned', [*triplets, replace(triplets[0], negative='the moon')], device='cpu', timed_rows=1)
    r, again = run(), run()
    assert r.task=='retrieval' and r.test_size==4 and r.decides=='mrr' and {'mrr', 'ndcg_at_10', 'recall_at_10', 'latency_ms'}<=set(r.adapter_metrics)
    assert r.base_metrics['mrr']!=r.adapter_metrics['mrr'] or r.base_metrics['ndcg_at_10']!=r.adapter_metrics['ndcg_at_10']
    assert again.details['base_from_cache'] and again.base_metrics['mrr']==r.base_metrics['mrr']
    with_base = C.fill_retrieval(load_embedder(base, device='cpu'), triplets, triplets)
    pair = C.open_embedders(base, tmp_path/'tuned', 'cpu')
    with pair.off(): assert C.fill_retrieval(pair.base, triplets, triplets)['mrr']==pytest.approx(with_base['mrr'])
    assert not pair.idle


def embedding_adapter(base, folder, dense=False):
    "What embedding training leaves: an adapter, and layers after the network where there are any"
    from peft import LoraConfig
    from ftkit.model.embed import load_embedder
    tuned = load_embedder(base, device='cpu')
    torch.manual_seed(0)
    tuned.add_adapter(LoraConfig(r=4, target_modules=['q_proj', 'v_proj'], init_lora_weights=False))
    if dense: tuned[-1].linear.weight.data.add_(1)
    with quietly(): tuned.save_pretrained(str(folder))
    return tuned


def embedding_base(base, folder):
    "A base with a layer after its network"
    from sentence_transformers.sentence_transformer.modules import Dense
    from ftkit.model.embed import load_embedder
    torch.manual_seed(0)
    embedder = load_embedder(base, device='cpu')
    embedder.append(Dense(64, 16))
    with quietly(): embedder.save_pretrained(str(folder))
    return folder


def test_an_embedding_adapter_loads_on_the_base_that_was_checked_and_on_no_other(base, tmp_path):
    from safetensors.torch import load_file, save_file
    from ftkit.model.embed import embed, load_embedder
    trained_on, here = (shutil.copytree(base, tmp_path/name) for name in ('trained-on', 'here'))
    wanted = embed(embedding_adapter(trained_on, tmp_path/'adapter'), ['tea'])
    assert json.loads((tmp_path/'adapter'/'adapter_config.json').read_text())['base_model_name_or_path']==str(trained_on)
    file = trained_on/'model.safetensors'
    save_file({k: v+.5 for k,v in load_file(file).items()}, file, metadata=dict(format='pt')) # the folder that the adapter names holds something else by now
    assert (embed(load_embedder(here, tmp_path/'adapter', 'cpu'), ['tea'])==wanted).all()
    with (pair := C.open_embedders(here, tmp_path/'adapter', 'cpu')).off(): assert (embed(pair.base, ['tea'])==embed(load_embedder(base, device='cpu'), ['tea'])).all()
    shutil.rmtree(trained_on)
    assert (embed(load_embedder(here, tmp_path/'adapter', 'cpu'), ['tea'])==wanted).all()


def test_an_embedding_adapter_on_another_base_than_its_passport_names_is_refused(base, tmp_path):
    from ftkit.model.embed import load_embedder
    from ftkit.model.passport import write_passport
    from ftkit.model.weights import AdapterRefused
    embedding_adapter(base, tmp_path/'adapter')
    write_passport(tmp_path/'adapter', 'acme/embedder', base)
    with pytest.raises(AdapterRefused, match="are not those of 'acme/embedder'"): load_embedder(random_base(seed=1), tmp_path/'adapter', 'cpu')


def test_pickled_weights_of_an_embedding_model_are_refused_by_name(base, tmp_path):
    from ftkit.model.embed import load_embedder
    whole = embedding_base(base, tmp_path/'whole')
    pickled = shutil.copytree(whole, tmp_path/'pickled')
    torch.save(torch.load, pickled/'2_Dense'/'pytorch_model.bin')
    load_embedder(pickled, device='cpu') # the safetensors beside it are read
    (pickled/'2_Dense'/'model.safetensors').unlink()
    with pytest.raises(FtkitError, match='2_Dense/pytorch_model.bin is a pickle, which runs code when it is opened'): load_embedder(pickled, device='cpu')
    (whole/'model.safetensors').rename(whole/'pytorch_model.bin')
    shutil.copy(whole/'2_Dense'/'model.safetensors', whole/'other.safetensors')
    with pytest.raises(FtkitError, match='pytorch_model.bin is a pickle'): load_embedder(whole, device='cpu')
    (whole/'other.safetensors').unlink()
    with pytest.raises(FtkitError, match='no .safetensors weights; ftkit does not load pickled ones'): load_embedder(whole, device='cpu')
    embedding_adapter(base, tmp_path/'adapter')
    (tmp_path/'adapter'/'adapter_model.safetensors').rename(tmp_path/'adapter'/'adapter_model.bin')
    with pytest.raises(FtkitError, match="'adapter_model.bin' is a pickle"): load_embedder(base, tmp_path/'adapter', 'cpu')


def test_an_adapter_that_brings_a_network_of_its_own_is_refused(base, tmp_path):
    from ftkit.model.embed import load_embedder
    embedding_adapter(base, tmp_path/'adapter')
    for name in ('config.json', 'model.safetensors'): shutil.copy(base/name, tmp_path/'adapter'/name)
    with pytest.raises(FtkitError, match='holds an adapter and a network of its own'): load_embedder(base, tmp_path/'adapter', 'cpu')


def test_an_embedding_adapter_whose_weights_have_other_names_than_the_network_is_refused(base, tmp_path):
    from ftkit.model.embed import check_filled
    tuned = embedding_adapter(base, tmp_path/'adapter')
    check_filled(tuned, tmp_path/'adapter'/'adapter_model.safetensors')
    other = embedding_adapter(random_base(layers=1), tmp_path/'other')
    with pytest.raises(FtkitError, match='differ in 4 names of weights, e.g. layers.1.self_attn.q_proj.lora_A.weight'): check_filled(other, tmp_path/'adapter'/'adapter_model.safetensors')


def test_trained_layers_after_the_network_are_no_part_of_the_base(base, tmp_path):
    from ftkit.model.embed import embed, load_embedder
    layered = embedding_base(base, tmp_path/'base')
    embedding_adapter(layered, tmp_path/'adapter', dense=True)
    pair = C.open_embedders(layered, tmp_path/'adapter', 'cpu')
    with pair.off(): assert (embed(pair.base, ['tea'])==embed(load_embedder(layered, device='cpu'), ['tea'])).all()
    before = C.base_hash(layered)
    (layered/'2_Dense'/'config.json').write_text('{}')
    assert C.base_hash(layered)!=before, 'another layer would be answered for from memory'


def test_an_evaluation_never_imports_training():
    import subprocess, sys
    code = "import sys, ftkit.evals.compare; print([m for m in sys.modules if m.startswith(('ftkit.train', 'ftkit.backends', 'torch', 'trl'))])"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip()=='[]'
