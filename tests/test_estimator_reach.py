"""What the classifier reaches beside scikit-learn's own, on digits and on texts."""

import csv
import gzip
from pathlib import Path

import pytest
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier

from specialists import SpecialistClassifier

CLINC = Path(__file__).parents[2] / "shared" / "data" / "clinc150" / "clinc150.tsv.gz"
ONE_POINT = 0.01

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_digits_are_told_apart_as_well_as_by_an_mlp():
    x, y = load_digits(return_X_y=True)
    ours = cross_val_score(SpecialistClassifier(random_state=0), x, y, n_jobs=2)
    theirs = cross_val_score(MLPClassifier(random_state=0), x, y)
    assert ours.mean() > theirs.mean() - ONE_POINT


@pytest.mark.skipif(not CLINC.exists(), reason=f"{CLINC} is not at hand")
def test_words_of_clinc150_are_told_apart_as_well_as_by_logistic_regression():
    with gzip.open(CLINC, "rt", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file, delimiter="\t", quoting=3) if row[1] != "oos"]
    texts, labels = (
        {p: [r[i] for r in rows if r[0] == p] for p in ("train", "test")} for i in (2, 1)
    )
    words = TfidfVectorizer(sublinear_tf=True, min_df=2)
    train, test = words.fit_transform(texts["train"]), words.transform(texts["test"])
    theirs = LogisticRegression(max_iter=300).fit(train, labels["train"])
    short = {"generalist": {"width": 256, "epochs": 8}, "specialists": {"width": 64, "epochs": 2}}
    short |= {"student.width": 64, "student.epochs": 1}
    short |= {"student.temperatures": [1.0], "student.alphas": [0.7]}
    ours = SpecialistClassifier(random_state=0, settings=short).fit(train, labels["train"])
    expected = theirs.score(test, labels["test"])
    assert ours.score(test, labels["test"]) > expected - ONE_POINT
