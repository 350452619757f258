#!/usr/bin/env bash
# At the change of clocks, croniter and cron-parser disagree about when a daily job runs, and how often.
#
# 30 2 * * * in New York, on the day without 02:30: croniter 7.0.0 (PyPI) says 03:00, cron-parser 5.10.6 (npm) 03:30. 30 1 * * * on the
# day with 01:30 twice: croniter runs twice, an hour apart, cron-parser once. AWS's documentation of EventBridge
# Scheduler says a third thing about the first case: the run is skipped.
#
# Why it matters with Lambda and RDS: both libraries are used to show "next run" beside a schedule of EventBridge
# Scheduler with a time zone, and to test it. The page promises a run that does not come, or a nightly purge that runs
# twice. Let schedules run in UTC, or outside 01:00 to 03:00.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
npm install --silent --no-audit --no-fund cron-parser@5.10.6
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check croniter==7.0.0
cat >run.py <<'END'
import datetime
import zoneinfo

from croniter import croniter

ZONE = zoneinfo.ZoneInfo("America/New_York")
for expression, start in (("30 2 * * *", (2024, 3, 9)), ("30 1 * * *", (2024, 11, 2))):
    runs = croniter(expression, datetime.datetime(*start, tzinfo=ZONE))
    times = [runs.get_next(datetime.datetime).astimezone(datetime.timezone.utc) for _ in range(4)]
    print(f"croniter {expression}:", *(time.strftime("%m-%dT%H:%MZ") for time in times))
END
cat >run.mjs <<'END'
import { CronExpressionParser } from 'cron-parser';

for (const [expression, currentDate] of [['30 2 * * *', '2024-03-09T05:00:00Z'], ['30 1 * * *', '2024-11-02T04:00:00Z']]) {
  const runs = CronExpressionParser.parse(expression, { currentDate, tz: 'America/New_York' });
  const times = Array.from({ length: 4 }, () => runs.next().toDate().toISOString());
  console.log(`cron-parser ${expression}:`, ...times.map((time) => `${time.slice(5, 16)}Z`));
}
END

echo "$(venv/bin/python --version), Node $(node --version), croniter 7.0.0, cron-parser 5.10.6"
{ venv/bin/python run.py && node run.mjs; } | tee seen
diff - seen <<'END'
croniter 30 2 * * *: 03-09T07:30Z 03-10T07:00Z 03-11T06:30Z 03-12T06:30Z
croniter 30 1 * * *: 11-02T05:30Z 11-03T05:30Z 11-03T06:30Z 11-04T06:30Z
cron-parser 30 2 * * *: 03-09T07:30Z 03-10T07:30Z 03-11T06:30Z 03-12T06:30Z
cron-parser 30 1 * * *: 11-02T05:30Z 11-03T05:30Z 11-04T06:30Z 11-05T06:30Z
END
echo "The behaviour is as described."
