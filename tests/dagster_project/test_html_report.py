"""The report is one page that needs nothing else, says what the warehouse holds, and trusts no text in it."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dagster_project.cli import app
from dagster_project.home import Home
from dagster_project.transcripts import write_report
from serving.models import ResolvedModel
from tests.dagster_project.played import HOSTILE, play
from trainer.conversation import load_tokenizer

runner = CliRunner()
VOID = {"meta", "br"}


class Page(HTMLParser):
    """Tags with their attributes, and what is left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, smollm2: ResolvedModel) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    home.parts.mkdir()
    play(home, load_tokenizer(smollm2.path))
    return home


@pytest.fixture(scope="module")
def text(home: Home) -> str:
    return write_report(home, "told").read_text()


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_a_hostile_transcript_stays_words(text: str, page: Page) -> None:
    assert "script" not in {tag for tag, _ in page.tags}
    assert "alert('owned')" in "".join(page.words) and HOSTILE not in text
    assert "<b>costs</b>" not in text and "&lt;b&gt;costs&lt;/b&gt;" in text


def test_the_page_is_well_formed_and_asks_for_nothing(text: str, page: Page) -> None:
    assert page.open == []
    reaching = {"src", "srcset", "action", "data", "poster", "background"}
    assert not [attributes for _, attributes in page.tags if reaching & set(attributes)]
    assert not {"script", "link", "iframe", "object", "embed", "img", "image", "base"} & {tag for tag, _ in page.tags}
    links = [attributes["href"] for _, attributes in page.tags if "href" in attributes]
    assert links and all(link and link.startswith("#") for link in links)
    assert not re.search(r"@import|url\((?!#)", text)


def test_what_is_referred_to_is_there(page: Page, text: str) -> None:
    there = {attributes["id"] for _, attributes in page.tags if attributes.get("id")}
    wanted = set(re.findall(r'(?:href="#|url\(#)([\w-]+)', text))
    assert wanted and wanted <= there


def test_the_same_warehouse_gives_the_same_bytes(home: Home, text: str, tmp_path: Path) -> None:
    assert write_report(home, "told", tmp_path / "again.html").read_text() == text


def test_it_has_figures_plots_splits_preferences_transcripts_and_commands(text: str, page: Page) -> None:
    assert [tag for tag, _ in page.tags].count("svg") == 5
    for words in (
        "Where it stands",
        "held-out preferences",
        "empty: the dataset has no such task",
        "arXiv\n2511.21689, appendix L",
        "Pareto front",
        "envloom train told --steps 1",
        "envloom lineage update-policy",
        "the tool answers",
        "an expert",
    ):
        assert words in text, words


def test_simulated_experts_are_marked_wherever_they_took_part(page: Page, text: str) -> None:
    assert "Experts took part that are simulated" in text
    rows = re.findall(r"<tr[^>]*><td>(?:base model|after|always|chance).*?</tr>", text, flags=re.DOTALL)
    judged = [row for row in rows if 'class="n"' in row]
    assert judged and all("simulated experts" in row for row in judged)
    said = "".join(page.words)
    assert "always the dearest expert (simulated experts)" in said, "in the legend of costs"
    assert "success (simulated experts)" in said and "reward by element (simulated experts)" in said
    assert text.count('<span class="tag">simulated</span> answers') > 0, "in transcripts, call by call"


def test_drawings_take_the_colours_of_the_page(text: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert all("currentColor" in each and "#000000" not in each for each in drawings)
    assert "prefers-color-scheme: dark" in text


def test_the_command_writes_it_and_says_where(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(home.root))
    result = runner.invoke(app, ["report", "told", "--to", str(tmp_path / "page.html")])
    assert result.exit_code == 0 and result.stdout.strip() == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 10_000
    missing = runner.invoke(app, ["report", "nowhere"])
    assert missing.exit_code == 2 and "Evaluated: told" in missing.output.replace("\n", " ")
