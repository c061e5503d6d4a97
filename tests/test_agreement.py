"Corners of `ftkit.agreement`: a second library, figures from the literature, holes and one opinion."
import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from ftkit.agreement import agreement_of, kappa, krippendorff, pairwise

@pytest.mark.parametrize('seed', range(4))
def test_kappa_agrees_with_scikit_learn(seed):
    a, b = np.random.default_rng(seed).integers(0, 3, (2, 50))
    assert kappa(a, b)==pytest.approx(cohen_kappa_score(a, b))

def test_one_opinion_or_nothing_in_common_is_undefined():
    assert math.isnan(kappa(['good']*3, ['good']*3)) and math.isnan(kappa([], []))
    assert math.isnan(krippendorff([['good', 'good']]*3)) and math.isnan(krippendorff([])) and math.isnan(krippendorff([['good'], ['bad']]))
    assert agreement_of({'a': dict(x=True, y=True)}).alpha is None and agreement_of({}).judged==0

def test_alpha_is_that_of_the_binary_example_in_the_literature():
    a, b = '0 1 0 0 0 0 0 0 1 0'.split(), '1 1 1 0 0 1 0 0 0 0'.split() # Krippendorff 2011, section A: alpha = .095
    assert krippendorff(zip(a, b))==pytest.approx(.095, abs=5e-4)

def test_full_agreement_is_one_and_things_judged_once_change_nothing():
    units = [['a', 'a'], ['b', 'b', 'b'], ['a', 'b']]
    assert krippendorff(units[:2])==1 and krippendorff([*units, ['a'], []])==krippendorff(units)

def test_only_raters_who_met_are_paired_and_the_busiest_come_first():
    rows = pairwise({'s1': dict(a=1, b=1), 's2': dict(a=1, b=0), 's3': dict(c=1, b=1), 's4': dict(d=1)})
    assert [(r['reviewers'], r['items'], r['same']) for r in rows]==[(('a', 'b'), 2, .5), (('b', 'c'), 1, 1.)]

def test_a_tie_is_a_tie_for_the_two_largest_camps():
    assert agreement_of({'s': dict(a=1, b=1, c=0, d=0), 't': dict(a=1, b=1, c=0), 'u': dict(a=1)}).split==1
