"The tests behind the verdict, against second libraries, exact enumeration and simulation."
import itertools

import numpy as np
import pytest
from scipy import stats

from ftkit.evals import stats as S


@pytest.mark.parametrize('b, c', [(0, 0), (1, 7), (0, 5), (12, 12), (30, 11), (59, 121)])
def test_mcnemar_is_the_binomial_test_on_what_changed(b, c):
    base, adapter = np.array([1]*b+[0]*c+[1]*9), np.array([0]*b+[1]*c+[1]*9)
    assert S.mcnemar(base, adapter)==pytest.approx(stats.binomtest(b, b+c).pvalue if b+c else 1)


def test_clustered_mcnemar_equals_enumeration_of_all_swaps():
    rng = np.random.default_rng(0)
    base, adapter, clusters = rng.integers(0, 2, 24), rng.integers(0, 2, 24), rng.integers(0, 8, 24)
    sums = [sum((adapter-base)[clusters==k]) for k in set(clusters)]
    seen = [abs(sum(s*x for s,x in zip(signs, sums)))>=abs(sum(sums)) for signs in itertools.product((-1, 1), repeat=len(sums))]
    assert S.mcnemar(base, adapter, clusters)==pytest.approx(np.mean(seen))


def test_order_of_rows_and_names_of_sessions_change_no_p_value():
    rng = np.random.default_rng(1)
    base, adapter, c = rng.integers(0, 2, 50), rng.integers(0, 2, 50), rng.integers(0, 12, 50)
    mix = rng.permutation(50)
    assert S.mcnemar(base, adapter, c)==pytest.approx(S.mcnemar(base[mix], adapter[mix], [f's{k}' for k in c[mix]]))


def test_many_rows_are_no_trouble():
    assert S.mcnemar(np.zeros(4000), np.arange(4000)%2)<1e-100 and S.sign_flip(np.random.default_rng(0).normal(size=4000), rounds=200)>0


@pytest.mark.parametrize('seed', range(3))
def test_sign_flips_agree_with_scipys_permutation_test(seed):
    d = np.random.default_rng(seed).normal(.15, .5, 30)
    second = stats.permutation_test((d,), lambda x, axis: x.mean(axis), permutation_type='samples', n_resamples=9999, rng=1).pvalue
    assert S.sign_flip(d)==pytest.approx(second, abs=.015)


@pytest.mark.parametrize('seed', range(3))
def test_the_bootstrap_agrees_with_scipys(seed):
    d = np.random.default_rng(seed).exponential(1, 60)-1
    ci = stats.bootstrap((d,), np.mean, method='percentile', n_resamples=9999, rng=1).confidence_interval
    assert np.allclose(S.paired_bootstrap(d), [ci.low, ci.high], atol=.03)


def test_rows_repeated_within_a_session_change_no_p_value_and_no_interval():
    d, sessions = np.random.default_rng(3).normal(.1, .3, 40).clip(-1, 1), np.repeat(np.arange(40), 5)
    for measure in (S.sign_flip, S.paired_bootstrap, S.paired_interval): assert measure(np.repeat(d, 5), sessions)==pytest.approx(measure(d))
    assert S.sign_flip([.5, .4, .3, -.1, .6, .2], ['a', 'a', 'b', 'b', 'c', 'c'])==pytest.approx(2/8, abs=.02), 'three sessions have eight ways to be swapped, and two are as large'


def test_one_session_says_nothing_about_others(): assert S.paired_interval([.1, .2, .3], ['a']*3)==(-1, 1)


def test_rows_that_never_differed_do_not_promise_that_few_are_enough(): assert S.required_n(0, .05)==S.required_n(.05, .05)>100


def test_where_the_rows_could_not_tell_more_are_asked_for_than_there_are(): assert S.rows_needed(np.full(50, .5))==51


@pytest.mark.parametrize('sessions, interval', [(10, S.paired_interval), (50, S.paired_bootstrap)])
def test_scores_from_few_sessions_get_the_interval_that_does_not_resample_them(sessions, interval):
    (a, b), names = np.random.default_rng(0).random((2, 100)), np.arange(100)%sessions
    c = S.compare_paired(a, b, names)
    assert (c.low, c.high)==pytest.approx(interval(b-a, names))


def test_no_number_of_swaps_makes_a_p_value_of_zero(): assert S.sign_flip(np.full(200, .3), rounds=999)==1/1000


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    "Right/wrong rows in sessions; the true difference is 0.05."
    hit = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        s = np.repeat(np.arange(40), rng.integers(1, 4, 40))
        easy = rng.beta(2, 2, 40)[s]*.9
        low, high = S.paired_interval((rng.random(len(s))<easy+.05).astype(float)-(rng.random(len(s))<easy), s)
        hit += low<=.05<=high
    assert .93<=hit/400<=1


def test_bonett_and_price_formula_on_a_second_table():
    "b = 3, c = 11 of n = 40, by the closed formula with the t quantile that is used here."
    d = np.array([-1]*3+[1]*11+[0]*26)
    p, q, n = 4/42, 12/42, 42
    reach = stats.t.ppf(.975, 39)*np.sqrt((p+q-(q-p)**2)/n)
    assert np.allclose(S.paired_interval(d), [q-p-reach, q-p+reach])


@pytest.mark.parametrize('k, n', [(0, 1), (0, 20), (1, 29), (20, 20), (81, 263)])
def test_wilson_agrees_with_scipy(k, n):
    ci = stats.binomtest(k, n).proportion_ci(method='wilson')
    assert np.allclose(S.wilson(k, n), [ci.low, ci.high])
    assert S.wilson(0, 0)==(0, 1)


def test_holm_controls_the_family_and_keeps_order_and_ties():
    assert S.holm([])==[] and S.holm([.5])==[.5] and S.holm([.02, .02, .9])==pytest.approx([.06, .06, .9]) and max(S.holm([.6, .7, .8]))==1
    assert S.holm([.01, .02, .03, .04, .05])==pytest.approx([.05, .08, .09, .09, .09]) # R: p.adjust(1:5/100, 'holm')
    false_alarms = [min(S.holm(np.random.default_rng(i).random(5)))<.05 for i in range(2000)]
    assert np.mean(false_alarms)<=.065


def test_the_number_of_rows_gives_the_power_it_promises():
    "Simulated: 15% become right, 8% become wrong."
    n = S.required_n(.23, .07)
    rng, found = np.random.default_rng(0), 0
    for _ in range(400):
        b, c = rng.multinomial(n, [.08, .15, .77])[:2]
        found += stats.binomtest(b, b+c).pvalue<.05
    assert .74<=found/400<=.88


def test_sessions_raise_the_number_of_rows_needed():
    d = np.tile([1., 0, 0, -1, 0], 12)
    assert S.rows_needed(np.repeat(d, 5), np.repeat(np.arange(60), 5))>2*S.rows_needed(np.repeat(d, 5))


@pytest.mark.parametrize('gain, base_right', [(0, .5), (0, .9), (0, .05)])
def test_equals_are_seldom_called_better(gain, base_right):
    found = 0
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        found += S.compare_paired(rng.random(50)<base_right, rng.random(50)<base_right).verdict=='better'
    assert found<=50


def test_equal_scores_are_seldom_called_better():
    found = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        a, b = (np.where(rng.random(40)<.6, rng.beta(2, 2, 40), rng.integers(0, 2, 40)) for _ in range(2))
        found += S.compare_paired(a, b, seed=seed).verdict=='better'
    assert found<=15


def test_a_real_gain_is_found():
    found = [S.compare_paired(rng.random(300)<.6, rng.random(300)<.8).verdict for rng in map(np.random.default_rng, range(50))]
    assert found.count('better')>=45 and found.count('worse')==0


@pytest.mark.parametrize('copies', [2, 10, 100])
def test_copies_create_no_significance(copies):
    rng = np.random.default_rng(5)
    base, adapter = rng.random(40)<.5, rng.random(40)<.6
    once = S.compare_paired(base, adapter, keys=range(40))
    again = S.compare_paired(np.tile(base, copies), np.tile(adapter, copies), keys=list(range(40))*copies)
    assert again==once and once.n==40
    assert S.compare_paired(np.tile(base, copies), np.tile(adapter, copies), clusters=list(range(40))*copies).p_value==pytest.approx(once.p_value)


def test_copies_keep_their_own_session():
    keys, sessions = ['a', 'b', 'a', 'c'], ['s1', 's2', 's1', 's2']
    assert S.first_of(sessions, keys)==['s1', 's2', 's2']
    c = S.compare_paired([0, 1, 0, 1], [1, 0, 1, 0], sessions, keys)
    assert (c.n, c.clusters, c.difference)==(3, 2, pytest.approx(-1/3)) and c==S.compare_paired([0, 1, 1], [1, 0, 0], ['s1', 's2', 's2'])


@pytest.mark.parametrize('n', [0, 1, 2, 8, 29])
def test_few_rows_say_cannot_tell_however_they_went(n):
    for adapter in (np.ones(n), np.zeros(n), np.arange(n)%2):
        c = S.compare_paired(np.zeros(n), adapter)
        assert c.verdict=='cannot tell' and c.need>n
    assert 'need n = 30' in str(S.compare_paired(np.zeros(8), np.ones(8)))


def test_agreement_on_few_rows_is_not_proof_of_no_loss():
    same = S.compare_paired(np.ones(40), np.ones(40))
    assert same.verdict=='cannot tell' and same.p_value==1 and S.guard(same, .05)=='cannot tell'
    assert S.compare_paired(np.ones(400), np.ones(400)).verdict=='not worse'


def test_less_is_better_turns_the_sign_and_nothing_else():
    rng = np.random.default_rng(2)
    a, b = rng.random(60), rng.random(60)+.2
    up, down = S.compare_paired(a, b), S.compare_paired(a, b, less_is_better=True)
    assert (up.verdict, down.verdict)==('better', 'worse') and up.difference==pytest.approx(-down.difference) and up.p_value==down.p_value


def test_the_same_seed_gives_the_same_comparison_and_scores_say_how_they_were_tested():
    d = np.random.default_rng(0).random((2, 50))
    assert S.compare_paired(*d)==S.compare_paired(*d) and S.compare_paired(*d).test=='sign flips' and S.compare_paired(*(d>.5)).test=='exact McNemar'


@pytest.mark.parametrize('low, high, says', [(-.04, .1, 'kept'), (-.06, .1, 'cannot tell'), (-.2, -.06, 'lost')])
def test_a_guard_reads_the_whole_interval(low, high, says):
    assert S.guard(S.Comparison(100, 100, 0, 0, 0, low, high, .5, 'x'), .05)==says
    assert S.guard(S.Comparison(10, 10, 0, 0, 0, low, high, .5, 'x'), .05)=='cannot tell'
