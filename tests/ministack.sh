# Makes .venv-aws with the emulator of AWS, once, also when several come at the same time; says in MINISTACK where it is. To be read by scripts, at
# the top folder. Needs python3 with venv.
(
    if command -v flock >/dev/null; then flock 9; fi
    if [ ! -x .venv-aws/bin/ministack ]; then
        python3 -m venv .venv-aws
        .venv-aws/bin/pip install --quiet --disable-pip-version-check 'ministack==1.5.33' 'aws-sam-translator==1.115.0'
    fi
    # Scripts ask the emulator with boto3, which ministack brings along only by accident.
    .venv-aws/bin/python -c 'import boto3' 2>/dev/null || .venv-aws/bin/pip install --quiet --disable-pip-version-check 'boto3==1.43.106'
) 9>.venv-aws.lock
export MINISTACK="$PWD/.venv-aws/bin/ministack"
