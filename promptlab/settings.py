"""Every setting, one section a concern. Each environment variable is read once, here, and stands in .env.example."""

import sys
from pathlib import Path
from typing import Any

from csp.constants import NONCE, NONE, SELF

from experiments.endpoints import networks_of
from promptlab.environment import Environment
from promptlab.hints import SCHEME
from promptlab.logs import logging_config
from promptlab.secret import read_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()
if (BASE_DIR / ".env").is_file():
    env.read_env(str(BASE_DIR / ".env"))

# --- Where state lives -------------------------------------------------------------------------------------------------
HOME = Path(env.str("PROMPTLAB_HOME", default=str(BASE_DIR / "var"))).resolve()
HOME.mkdir(parents=True, exist_ok=True)
PORT = env.int("PORT", default=8000)  # of `manage.py start`

# --- Safety ------------------------------------------------------------------------------------------------------------
DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = read_secret_key(env.str("SECRET_KEY", default=""), HOME)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
HTTPS = env.bool("HTTPS", default=False)  # served behind TLS: secure cookies, redirect and HSTS
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]  # monitors ask the process itself, behind the proxy that speaks TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "experiments.views.errors.csrf_failure"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "object-src": [NONE],
        "frame-ancestors": [NONE],
    }
}

# --- Application -------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django_linear_migrations",
    "whitenoise.runserver_nostatic",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "csp",
    "django_htmx",
    "django_structlog",
    "experiments",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",  # early, like the two beside it: refusals carry their headers too
    "experiments.middleware.NoStoreMiddleware",
    "experiments.middleware.RequestLogMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "experiments.middleware.SignInMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
ROOT_URLCONF = "promptlab.urls"
WSGI_APPLICATION = "promptlab.wsgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "experiments.context.workspace",
            ],
            "builtins": ["experiments.templatetags.promptlab_format"],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
INSTALLED_APPS.append("django.forms")
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 2**20
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5_000
UPLOAD_MAX_BYTES = 100 * 2**20
FILE_UPLOAD_HANDLERS = [
    "experiments.uploads.LimitedUploadHandler",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]
FILE_UPLOAD_TEMP_DIR = HOME / "uploads"
FILE_UPLOAD_TEMP_DIR.mkdir(exist_ok=True)

# --- Database: SQLite for one machine, PostgreSQL for a team ------------------------------------------------------------
DATABASES: dict[str, dict[str, Any]] = {"default": env.database("DATABASE_URL", default=f"sqlite:///{HOME / 'promptlab.sqlite3'}")}
DATABASES["default"]["ATOMIC_REQUESTS"] = False
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",  # a writer waits its turn instead of failing on a lock upgrade
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 60
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True

# --- Cache: rate limits only; no page is ever cached --------------------------------------------------------------------
REDIS_URL = env.broker("REDIS_URL")
CACHES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "promptlab.cache.ForgivingRedisCache", "LOCATION": REDIS_URL, "KEY_PREFIX": "promptlab"}
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}

# --- Files: addressed by their SHA-256, so that workers elsewhere see what the web received ------------------------------
S3_BUCKET = env.str("S3_BUCKET", default="")
FILES_ROOT = HOME / "files"
STORAGES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {"bucket_name": S3_BUCKET, "endpoint_url": env.str("S3_ENDPOINT_URL", default=None), "file_overwrite": False},
    }
    if S3_BUCKET
    else {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": FILES_ROOT}},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
STATIC_URL = "static/"
STATIC_ROOT = HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]

# --- Accounts ----------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "experiments.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
    "sesame.backends.ModelBackend",  # one-time sign-in links
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "experiments.accounts.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "experiments.forms.accounts.SignInForm",
    "change_password": "experiments.forms.accounts.PasswordChangeForm",
    "set_password": "experiments.forms.accounts.PasswordSetForm",
    "reset_password": "experiments.forms.accounts.PasswordResetForm",
    "reset_password_from_key": "experiments.forms.accounts.PasswordResetKeyForm",
    "reauthenticate": "experiments.forms.accounts.ReauthenticateForm",
}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ALLAUTH_TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXIES", default=0)  # whose X-Forwarded-For tells who tries to sign in
SESAME_TOKEN_NAME = "token"  # noqa: S105 - the name of a query parameter
SESAME_MAX_AGE = 15 * 60
SESAME_ONE_TIME = True
EMAIL_CONFIG = env.email_url("EMAIL_URL", default="consolemail://")
vars().update(EMAIL_CONFIG)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="PromptLab <promptlab@localhost>")

# --- Jobs: the database row is the job, the broker carries hints ---------------------------------------------------------
HINTS_DIR = HOME / "hints"
CELERY_BROKER_URL = REDIS_URL or f"{SCHEME}://localhost//"
if not REDIS_URL:
    for folder in ("queue", "control"):
        (HINTS_DIR / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = (
    {
        "visibility_timeout": 3600,
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "retry_on_timeout": True,
        "global_keyprefix": "promptlab:",
    }
    if REDIS_URL
    else {
        "data_folder_in": str(HINTS_DIR / "queue"),
        "data_folder_out": str(HINTS_DIR / "queue"),
        "control_folder": str(HINTS_DIR / "control"),
        "polling_interval": 0.1,
    }
)
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_ACKS_LATE = False  # recovery is the sweep's; a late acknowledgement would run long jobs twice
CELERY_TASK_REJECT_ON_WORKER_LOST = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_CREATE_MISSING_QUEUES = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
JOB_LEASE_SECONDS = env.float("JOB_LEASE_SECONDS", default=60.0)
JOB_HEARTBEAT_SECONDS = env.float("JOB_HEARTBEAT_SECONDS", default=10.0)
JOB_MAX_CRASHES_WITHOUT_PROGRESS = 3
JOB_MAX_CRASHES = 10
JOB_CANCEL_GRACE_SECONDS = 20.0
JOB_HANG_SECONDS = env.float("JOB_HANG_SECONDS", default=600.0)
JOB_MEMORY_LIMIT_BYTES = env.int("JOB_MEMORY_LIMIT_BYTES", default=0)  # 0: the machine's own limit
HOST_IDLE_SECONDS = 900.0
# How long a latency pass waits for a machine that other programs keep busy, before it says so and gives up.
LATENCY_PATIENCE_SECONDS = 15.0
ENGINE_HOST_COMMAND = [sys.executable, "-m", "workers.engine", "host"]
ATTEMPTS_DIR = HOME / "attempts"  # scratch space of running jobs; a sweep clears what no row refers to
SHARE_LINKS = env.bool("SHARE_LINKS", default=True)  # may reports be opened by link, without an account?
HF_HUB_ALLOWED = env.bool("HF_HUB_ALLOWED", default=False)  # may workers load models from the Hugging Face Hub?
ENDPOINT_PRIVATE_NETWORKS = networks_of(env.list("ENDPOINT_PRIVATE_NETWORKS", default=[]))  # not public, yet allowed for hosted models
ENDPOINT_PATIENCE_SECONDS = env.float("ENDPOINT_PATIENCE_SECONDS", default=300.0)  # without any answer, a run gives up
MODEL_FOLDERS = env.list("MODEL_FOLDERS", default=[])  # folders below which local models may be registered

# --- Language and time: UTC is stored, the viewer's zone is shown ---------------------------------------------------------
LANGUAGE_CODE = "en"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Logs --------------------------------------------------------------------------------------------------------------
LOGGING = logging_config(env.level("LOG_LEVEL", default="INFO"))
DJANGO_STRUCTLOG_CELERY_ENABLED = False
SILENCED_SYSTEM_CHECKS = ["auth.W004"]  # the email is unique by a constraint on Lower("email"), which the check does not see
