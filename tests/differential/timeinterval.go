// Answers, with Alertmanager's own package, whether time intervals hold: one JSON task a line in, one JSON answer a line
// out. A task with `at` (Unix seconds) is answered by a digit for each instant; one with `from` and `until` by the
// seconds at which the answer changes, looked for minute by minute; one with neither by whether the text is accepted.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
	"gopkg.in/yaml.v2"
)

type task struct {
	Intervals string
	At        []int64
	From      int64
	Until     int64
}

type answer struct {
	Error   string  `json:"error"`
	Held    string  `json:"held"`
	Changes []int64 `json:"changes"`
}

func holds(intervals []timeinterval.TimeInterval, second int64) bool {
	at := time.Unix(second, 0).UTC()
	for _, one := range intervals {
		if one.ContainsTime(at) {
			return true
		}
	}
	return false
}

func solve(line []byte) answer {
	var asked task
	if err := json.Unmarshal(line, &asked); err != nil {
		panic(err)
	}
	var intervals []timeinterval.TimeInterval
	if err := yaml.UnmarshalStrict([]byte(asked.Intervals), &intervals); err != nil {
		return answer{Error: err.Error()}
	}
	said := answer{Changes: []int64{}}
	digits := make([]byte, len(asked.At))
	for i, second := range asked.At {
		digits[i] = '0'
		if holds(intervals, second) {
			digits[i] = '1'
		}
	}
	said.Held = string(digits)
	before := asked.From < asked.Until && holds(intervals, asked.From)
	for second := asked.From + 60; second < asked.Until; second += 60 {
		if now := holds(intervals, second); now != before {
			said.Changes = append(said.Changes, second)
			before = now
		}
	}
	return said
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<26)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		if err := out.Encode(solve(in.Bytes())); err != nil {
			panic(err)
		}
	}
}
