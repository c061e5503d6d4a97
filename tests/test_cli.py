"The command line: results for programs, one line for mistakes, no traceback."
import json, subprocess, sys

import pytest
from typer.testing import CliRunner

from ftkit.cli import app
from ftkit.disk import read_json
from ftkit.data.approval import ApprovalOrchestrator, ApprovalStore
from ftkit.data.synth import SyntheticDataService
from ftkit.pipeline import finetune_sync
from ftkit.telemetry.samples import telemetry
from ftkit.telemetry.files import FileProvider, save_telemetry
from ftkit.telemetry.server import free_port
from ftkit.model.tiny import random_base

run = CliRunner().invoke

def test_help_answers_without_the_heavy_modules():
    code = "import sys; from ftkit.cli import app\ntry: app(['--help'])\nexcept SystemExit: pass\nassert not {'torch', 'transformers', 'pandas', 'phoenix'} & set(sys.modules)"
    subprocess.run([sys.executable, '-c', code], check=True, stdout=subprocess.DEVNULL)

@pytest.mark.parametrize('args,words', [
    (['train'], 'which project?'),
    (['train', '--project', 'p', '--agent-type', 'a', '--set', 'epochs=0'], 'epochs: got 0, needed integer from 1 to 1,000'),
    (['train', '--project', 'p', '--agent-type', 'a', '--set', 'lora_rank=8'], 'lora_rank: there is no such field; did you mean lora_r?'),
    (['train', '--project', 'p', '--agent-type', 'a', '--config', 'no-such.yaml'], 'there is no configuration file no-such.yaml'),
    (['train', '--project', 'p', '--agent-type', 'a', '--file', 'no-such-folder'], 'no-such-folder does not exist'),
    (['train', '--resume', 'no-such-run'], "there is no run 'no-such-run'"),
    (['adapters', 'activate', 'ad-nothing'], 'ad-nothing'),
    (['adapters', '--tenant', '../etc'], 'is not usable'),
])
def test_a_mistake_is_a_message_and_exit_code_2(args, words):
    result = run(app, args)
    assert result.exit_code==2 and words in result.stderr and 'Traceback' not in result.output

def test_phoenix_not_running_is_one_clear_line(tmp_path):
    result = run(app, ['train', '--project', 'p', '--agent-type', 'a', '--base-model', 'ftkit-tiny', '--endpoint', f'http://127.0.0.1:{free_port()}', '--set', f'output_dir={tmp_path}'])
    assert result.exit_code==2 and '127.0.0.1' in result.stderr and 'Traceback' not in result.output

def test_an_unknown_project_names_those_that_exist(phoenix_server, tmp_path):
    result = run(app, ['train', '--project', 'no-such-project', '--agent-type', 'a', '--base-model', 'ftkit-tiny', '--endpoint', phoenix_server.endpoint, '--set', f'output_dir={tmp_path}'])
    assert result.exit_code==2 and 'no-such-project' in result.stderr and 'default' in result.stderr

def test_a_config_file_gives_fields_and_the_command_line_wins(tmp_path):
    (tmp_path/'plan.yaml').write_text('project: p\nagent_type: a\nepochs: 0\nbatch_size: 0\n')
    result = run(app, ['train', '--config', str(tmp_path/'plan.yaml'), '--set', 'epochs=2'])
    assert result.exit_code==2 and 'batch_size: got 0' in result.stderr and 'epochs' not in result.stderr

def test_json_output_is_json_and_nothing_else(fresh_home):
    result = run(app, ['adapters', '--tenant', 'acme', '--json'])
    assert result.exit_code==0 and json.loads(result.stdout)==[]

def test_sync_sends_what_was_kept_and_says_so(phoenix_server, tmp_path):
    from test_experiment import run_folder
    run_folder(tmp_path, plan=dict(project='cli-sync'))
    first, again = (run(app, ['sync', '--output-dir', str(tmp_path), '--endpoint', phoenix_server.endpoint]) for _ in range(2))
    assert first.stdout=='sft_routing_20260131_120000: 5 spans\n' and again.stdout=='nothing to send\n'
    run_folder(tmp_path, 'sft_routing_20260131_130000')
    away = run(app, ['sync', '--output-dir', str(tmp_path), '--endpoint', f'http://127.0.0.1:{free_port()}'])
    assert away.exit_code==2 and 'no Phoenix answers' in away.stderr

# --- a run from a terminal, and what it is told when it goes on

@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    "Routing traces of the shop, as files"
    folder = tmp_path_factory.mktemp('shop')
    save_telemetry(folder, *telemetry('routing', n=44))
    return folder

def settings(out, **more):
    fields = dict(output_dir=out, epochs=1, batch_size=8, min_sft_examples=45, test_set_size=4, evaluate_after_training=False, **more)
    return [x for k,v in fields.items() for x in ('--set', f'{k}={json.dumps(v) if isinstance(v, bool) else v}')]

def test_a_resumed_run_is_told_only_what_may_change(shop, tmp_path):
    began = run(app, ['train', '--project', 'shop', '--agent-type', 'routing', '--base-model', str(random_base()), '--file', str(shop), *settings(tmp_path)])
    assert began.exit_code==2 and 'Insufficient' in began.stderr
    folder, = tmp_path.glob('auto_*')
    before = (folder/'plan.json').read_bytes()
    wrong = run(app, ['train', '--resume', str(folder), '--set', 'timeout=9999', '--set', 'learning_rate=7', '--agent-type', 'nonsense'])
    assert wrong.exit_code==2 and 'learning_rate: it was' in wrong.stderr and "agent_type: it was 'routing'" in wrong.stderr and (folder/'plan.json').read_bytes()==before
    again = run(app, ['train', '--resume', str(folder), '--set', 'timeout=9999'])
    assert again.exit_code==2 and 'Insufficient' in again.stderr and read_json(folder/'plan.json')['place']['timeout']==9999

def test_the_tenant_of_a_config_file_stands(shop, tmp_path):
    (tmp_path/'plan.yaml').write_text('tenant_id: acme\nproject: shop\nagent_type: routing\nstart_time: 2020-01-31\n')
    result = run(app, ['train', '--config', str(tmp_path/'plan.yaml'), '--base-model', str(random_base()), '--file', str(shop), *settings(tmp_path/'out')])
    folder, = (tmp_path/'out').glob('auto_*')
    source = read_json(folder/'plan.json')['source']
    assert result.exit_code==2 and source['tenant_id']=='acme' and source['start_time']=='2020-01-31'

class Unhurried(ApprovalOrchestrator):
    "Someone who has not looked yet"
    async def submit_for_review(self, batch): return self.store.save(batch)

def test_a_run_that_waits_for_a_person_is_finished_from_a_terminal(shop, tmp_path):
    store = ApprovalStore(f'sqlite:///{tmp_path}/approvals.db')
    fields = dict(tenant_id='acme', project='shop', model_type='llm', agent_type='routing', base_model=str(random_base()), output_dir=str(tmp_path/'out'), epochs=1, batch_size=8, min_sft_examples=45, test_set_size=4,
        evaluate_after_training=False, enable_registry=False)
    first = finetune_sync(telemetry_provider=FileProvider(shop), synthetic_service=SyntheticDataService(), approval_orchestrator=Unhurried(store), say=lambda line: None, **fields)
    assert first.status=='awaiting approval'
    batch = store.load(store.batches()[0])
    for item in batch.items:
        said = run(app, ['review', batch.batch_id, '--run', first.run, '--item', item.item_id, '--reviewer', 'mara'])
        assert said.exit_code==0, said.output
    done = run(app, ['train', '--resume', first.run, '--json'])
    assert done.exit_code==0, done.output
    assert json.loads(done.stdout)['used_synthetic'] and json.loads(done.stdout)['training_method']=='sft'
