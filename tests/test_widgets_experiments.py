"The dashboard of experiments: filters, details, evaluations and curves, without a mouse and without a kernel."
import asyncio
from datetime import datetime, timedelta, timezone

import pytest

from ftkit.panels.experiments import experiments
from ftkit.runs.export import sync
from ftkit.runs.history import Experiment
from ftkit.telemetry.http import PhoenixProvider
from ftkit.panels.experiments import (ExperimentsPanel, details_html, evaluation_html, experiments_html, plot_experiments)
from test_experiment import run_folder

def tried(n, method='sft', agent='routing', gain=.3, train=.5, val=.6, **metrics):
    base, adapter = dict(accuracy=.6, latency_ms=20.), dict(accuracy=.6+gain, latency_ms=30.)
    found = dict(evaluation=dict(verdict='better' if gain>.1 else 'cannot tell', need=None if gain>.1 else 700, test_size=50, decides='accuracy',
        comparisons=dict(accuracy=dict(low=gain-.1, high=gain+.1, p_holm=.004 if gain>.1 else .4), latency_ms=dict(low=-12., high=-8., p_holm=None))), metrics=dict(base=base, adapter=adapter), improvement=dict(significant=gain>.1))
    rows = tuple(dict(step=s, loss=1/s, **({'eval_loss': 1/s+.1} if s%2==0 else {})) for s in range(1, 9))
    return Experiment(f'{method}_{agent}_{n}', 'finished', datetime(2026, 2, 1, tzinfo=timezone.utc)+timedelta(days=n), 40., dict(agent_type=agent), dict(method=method, base_model='acme/tiny', lora_r=4*n), dict(approved_count=80),
        {**dict(train_loss=train, eval_loss=val, best_step=6, stopped_early=True, steps=8), **metrics}, {}, found, (('train', 40., ''),), rows)

RUNS = [tried(3, gain=.05), tried(2, 'dpo'), tried(1, agent='billing')]

def test_filters_narrow_what_is_shown_and_keep_what_was_chosen():
    p = ExperimentsPanel(RUNS)
    assert p.pick.options==('sft_routing_3', 'dpo_routing_2', 'sft_billing_1') and p.pick.value==('sft_routing_3',)
    p.pick.value = ('sft_billing_1',)
    p.by['method'][0].value = 'sft'
    assert [e.run_id for e in p.shown]==['sft_routing_3', 'sft_billing_1'] and p.pick.value==('sft_billing_1',) and 'dpo' not in p.table.value
    p.by['agent'][0].value = 'routing'
    assert p.pick.value==('sft_routing_3',) and '1 runs' in p.table.value
    p.by['verdict'][0].value = 'better'
    assert p.pick.options==() and p.details.value=='' and '0 runs' in p.table.value

def test_the_summary_counts_verdicts_and_names_the_best():
    said = ExperimentsPanel(RUNS).summary.value
    assert '3 runs' in said and '2 better' in said and '1 cannot tell' in said and 'best: dpo_routing_2 (+0.300)' in said

@pytest.mark.parametrize('val, says', [(.6, '+20%, overfitting'), (.52, '+4%'), (.4, '-20%')])
def test_overfitting_and_early_stopping_are_marked(val, says):
    page = details_html(tried(1, val=val))
    assert says in page and ('overfitting' in page)==('overfitting' in says) and 'stopped at step 8, best was step 6' in page
    assert 'not needed, best was step 6' in details_html(tried(1, stopped_early=False)) and 'early stopping' not in details_html(tried(1, best_step=None))

def test_an_evaluation_shows_both_sides_the_delta_and_whether_it_is_real():
    page = evaluation_html(RUNS[1])
    for text in ('0.600', '0.900', '+0.300', '+0.200 to +0.400', 'yes (p = 0.004)', 'better on 50 rows'): assert text in page
    assert '+8.000 to +12.000' in page, 'the interval of a latency follows the sign of its delta'
    assert 'no (p = 0.400)' in evaluation_html(RUNS[0]) and '700 rows would tell' in evaluation_html(RUNS[0])
    assert 'was not evaluated' in evaluation_html(Experiment('x', 'finished', RUNS[0].began, 1., {}, {}, {}, {}, {}, {}))

def test_curves_share_an_axis_and_mark_the_best_validation():
    ax, = plot_experiments(RUNS[:2]).axes
    assert [t.get_text() for t in ax.get_legend().get_texts()]==['sft_routing_3', 'dpo_routing_2']
    rings = [line for line in ax.lines if line.get_markersize()==9]
    assert len(rings)==2 and list(rings[0].get_xdata())==[6]
    assert not plot_experiments([]).axes[0].lines

def test_chosen_runs_are_set_side_by_side_and_details_are_asked_for_once():
    asked = []
    p = ExperimentsPanel(RUNS, lambda e: asked.append(e.run_id) or e)
    p.pick.value = ('sft_routing_3', 'dpo_routing_2')
    p.pick.value = ('dpo_routing_2',)
    p.pick.value = ('sft_routing_3', 'dpo_routing_2')
    assert asked==['sft_routing_3', 'dpo_routing_2']
    assert 'params.lora_r' in p.details.value and 'data.approved_count' not in p.details.value and p.evaluation.value.count('<h4>')==2 and '<img' in p.curves.value

def test_a_saved_notebook_shows_the_same_without_a_kernel():
    p = ExperimentsPanel(RUNS)
    page = p._repr_mimebundle_()['text/html']
    assert page==experiments_html(RUNS) and page.count('<details>')==3 and 'data:image/png' in page and '<script' not in page

def test_what_people_typed_is_never_markup():
    bad = Experiment('<script>1</script>', 'failed', RUNS[0].began, 1., dict(agent_type='<b>x'), dict(method='<i>'), {}, {}, {}, {}, reason='<script>2')
    for page in (experiments_html([bad]), *(w.value for w in (ExperimentsPanel([bad]).details, ExperimentsPanel([bad]).summary))): assert '<script' not in page and '<i>' not in page

def test_runs_come_from_folders_from_phoenix_and_from_both(phoenix_server, tmp_path):
    project = 'dashboard-shop'
    here, there = run_folder(tmp_path/'a', plan=dict(project=project)), run_folder(tmp_path/'b', 'dpo_routing_20260202_120000', dict(project=project), method='dpo')
    for folder in (here, there): asyncio.run(sync(folder, phoenix_server.endpoint))
    provider = PhoenixProvider('acme', project, phoenix_server.endpoint)
    folders, both = experiments(tmp_path/'a'), experiments([tmp_path/'a', provider])
    assert [e.run_id for e in folders.shown]==[here.name] and {e.run_id for e in both.shown}=={here.name, there.name}
    both.pick.value = (there.name,)
    assert 'train' in both.details.value and '<img' in both.curves.value, 'stages and curves are fetched when a run is chosen'
    assert [e.run_id for e in experiments(provider, method='dpo').shown]==[there.name]
    async def cell(): return experiments(provider)
    assert len(asyncio.run(cell()).shown)==2, 'a notebook has an event loop of its own'
