#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Embedders of a mount: each kind, a change of it (in its midst, over a kill, back again), and directories
# that choose. The programs and the server that embed here count words.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip_all "python3 is missing"

cat >"$work/embed.py" <<'END'
# command PACE: a line of numbers for each line of JSON. server PORTFILE KEY: the same by HTTP.
import http.server, json, sys, time

def vector(text):
    words = ["heron", "abacus", "stones", "bread", "early"]
    return [1.0 + len(text) % 3] + [3.0 * text.lower().count(w) for w in words]

if sys.argv[1] == "command":
    for line in sys.stdin:
        time.sleep(float(sys.argv[2]))
        print(json.dumps(vector(json.loads(line)["text"])), flush=True)
    sys.exit()

class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        ok = self.headers["Authorization"] == "Bearer " + sys.argv[3]
        answer = {"data": [{"index": i, "embedding": vector(t)} for i, t in enumerate(asked["input"])]}
        body = json.dumps(answer if ok else {"error": "no " + str(self.headers["Authorization"])}).encode()
        self.send_response(200 if ok else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[4]) if len(sys.argv) > 4 else 0), Server)
open(sys.argv[2], "w").write(str(server.server_port))
server.serve_forever()
END
program() { printf 'embedder=command,embedder_command=python3 %s command %s' "$work/embed.py" "$1"; }

state() { # FILE PATTERN
	local said
	said=$(getfattr --only-values -n user.mneme.state "$mnt/$1") || return 1
	echo "$said"
	# shellcheck disable=SC2053 # a pattern
	[[ $said == $2 ]]
}
# finds QUESTION FILE: once, by meaning and with both.
finds()
{
	local mode
	for mode in vector hybrid; do
		mneme search -C "$mnt" -n 100 --grep "$1 mode:$mode" >"$work/answer" || return 1
		cut -d : -f 1 "$work/answer" | grep -cxF "$mnt/$2" | grep -qx 1 ||
			{ cat "$work/answer"; return 1; }
	done
}
shows() { mneme status -C "$mnt" | tee "$work/said" && grep -qE -- "$1" "$work/said"; }
# waits COMMAND...: until it succeeds, 30 seconds at most.
waits()
{
	local i
	for i in $(seq 300); do
		"$@" >"$work/wait.log" 2>&1 && return 0
		sleep 0.1
	done
	cat "$work/wait.log"
	return 1
}
bytes_are_in_store() # FILE: those of the vectors in it
{
	python3 - "$1" "$store" <<-'END'
	import os, sys
	wanted = open(sys.argv[1], "rb").read()[:64]
	for where, _, names in os.walk(sys.argv[2]):
	    for name in names:
	        if wanted in open(os.path.join(where, name), "rb").read():
	            print(os.path.join(where, name))
	            sys.exit(0)
	sys.exit(1)
	END
}

# ---- a change of the embedder ----
store_new
store_mount embedder=hash
mkdir "$mnt/notes" "$mnt/other"
for i in $(seq 60); do
	echo "Number $i: $((i % 7)) stones and $([ $((i % 5)) = 0 ] && echo a heron || echo no bird)." >"$mnt/notes/$i.md"
done
sync "$mnt"
check by_hash shows '^model +hash:512$'
check file_says_its_model test "$(getfattr --only-values -n user.mneme.model "$mnt/notes/5.md")" = hash:512
python3 -c 'import struct, sys
f = open(sys.argv[1], "rb").read()
n = len(f) // 4
open(sys.argv[2], "wb").write(struct.pack("<%de" % n, *struct.unpack("<%df" % n, f)))' \
	"$mnt/.mneme/vector/notes%2F60.md.f32" "$work/old.f16" ||
	fatal "no vector"
store_unmount
check its_vectors_are_in_the_store bytes_are_in_store "$work/old.f16"

store_mount "$(program 0.4)"
check asked_for_is_shown shows '^model +command:python3'
check old_ones_are_shown shows '^still +hash:512: [0-9]+ passages'
check stats_tell grep -qE 'memories .*\([1-9][0-9]* by an embedder of before\)' "$mnt/.mneme/stats"
check metrics_tell grep -qE '^mneme_memory_former_passages [1-9]' "$mnt/.mneme/metrics"
check waiting_says_how_it_is_found state notes/60.md 'pending: found by hash:512 until command:python3 *'
check found_meanwhile finds 'a heron and stones' notes/60.md
echo 'The abacus is lent.' >"$mnt/notes/new.md"
check saved_meanwhile eval 'sync "$mnt/notes/new.md" && state notes/new.md indexed && finds abacus notes/new.md'
check some_are_done waits eval 'getfattr --only-values -n user.mneme.model "$mnt"/notes/*.md | grep -q command'
store_kill
store_mount "$(program 0.4)"
check in_the_midst_after_a_kill shows '^still +hash:512'
check found_after_a_kill finds 'a heron and stones' notes/60.md
store_unmount
store_mount embedder=hash
check back_in_the_midst finds 'a heron and stones' notes/60.md
store_unmount
store_mount "$(program 0)"
check goes_on sync "$mnt"
check all_are_done eval '! shows still'
check done_is_indexed state notes/60.md indexed
check found_by_the_new_one finds 'a heron and stones' notes/60.md
check compact mneme compact "$mnt"
check old_vectors_are_gone_from_the_store eval '! bytes_are_in_store "$work/old.f16"'
store_unmount
check store_is_whole store_check

# ---- the end of a mount while somebody waits for a slow embedder ----
store_mount "$(program 2)"
for i in $(seq 30); do echo "Stone $i is early." >"$mnt/other/$i.md"; done
sync "$mnt/other" &
waiting=$!
check is_waiting eval 'waits state other/30.md "pending*" && sleep 1 && kill -0 $waiting'
kill -TERM "$daemon"
check ends_before_all_are_embedded daemon_wait 200
wait $waiting
check rest_is_left_to_the_next eval 'store_mount "$(program 0)" && shows "^waiting +[1-9]" && sync "$mnt" && state other/30.md indexed'
store_unmount

# ---- directories that choose ----
store_mount "$(program 0),embedder=hash"
check first_is_the_mounts shows '^model +hash'
check chosen mneme config -C "$mnt/notes" embedder=command
check chosen_is_shown eval 'mneme config -C "$mnt/notes" | grep -qE "^embedder=command  # .*set here"'
mkdir "$mnt/notes/below"
echo 'The abacus below.' >"$mnt/notes/below/abacus.md"
echo 'Early bread.' >"$mnt/other/bread.md"
sync "$mnt"
model() { getfattr --only-values -n user.mneme.model "$mnt/$1" | grep -q "^$2"; }
check holds_below model notes/below/abacus.md command
check holds_not_beside model other/bread.md hash
check existing_files_follow eval 'model notes/60.md command && state notes/60.md indexed'
check both_are_found eval 'finds "early bread" other/bread.md && finds "the abacus" notes/below/abacus.md'
check both_are_shown shows '^also +command:python3[^ ]*: [0-9]+ passages$'
mv "$mnt/other/bread.md" "$mnt/notes/below/"
sync "$mnt"
check moved_file_follows eval 'model notes/below/bread.md command && finds "early bread" notes/below/bread.md'
check none mneme config -C "$mnt/notes/below" embedder=none
sync "$mnt"
check none_has_words eval '! finds "early bread" notes/below/bread.md && mneme search -C "$mnt" --grep "early bread" | grep -q bread.md'
check not_set_up says_no 'embedder http is not set up.*embedder_url' mneme config -C "$mnt/notes" embedder=http
check not_a_kind says_no 'embedder wants builtin, hash, http, command or none' mneme config -C "$mnt/notes" embedder=magic
check by_attribute_too says_no 'Invalid argument' setfattr -n user.mneme.embedder -v http "$mnt/notes"
store_unmount
store_mount embedder=hash
echo 'An early heron.' >"$mnt/notes/early.md"
check says_what_is_not_set_up eval 'sync "$mnt/notes/early.md" && state notes/early.md "error: *command, is not set up*"'
check its_words_are_found eval 'mneme search -C "$mnt" --grep "early heron mode:lexical" | grep -q early.md'
check old_vectors_stay shows 'command:python3.* passages, found by their words: it is not at hand'
store_unmount
store_mount "$(program 0),embedder=hash"
check set_up_again eval 'sync "$mnt" && state notes/early.md indexed && model notes/early.md command'
store_unmount

# ---- a server, and its key ----
rm -r "$store"
store_new
key=sesame$RANDOM$RANDOM
(umask 077 && echo "$key" >"$work/key")
serve() { # [PORT]
	rm -f "$work/port"
	python3 "$work/embed.py" server "$work/port" "$key" "$@" 3>&- &
	server=$!
	waits test -s "$work/port" || fatal "no server"
	port=$(cat "$work/port")
}
trap 'kill $server 2>/dev/null; work_clean' EXIT
serve
options="embedder=http,embedder_url=http://127.0.0.1:$port/v1,embedder_model=counts,embedder_key_file=$work/key"
store_mount "$options"
echo 'The heron is early.' >"$mnt/heron.md"
check by_http eval 'sync "$mnt/heron.md" && state heron.md indexed && finds "an early heron" heron.md'
check http_is_named shows '^model +http:counts$'
kill $server
wait $server 2>/dev/null
echo 'The abacus is here.' >"$mnt/abacus.md"
check fsync_without_the_server sync "$mnt/abacus.md"
check it_says_why state abacus.md 'error: *'
check found_by_words eval 'mneme search -C "$mnt" --grep abacus | grep -q abacus.md'
check answer_says_so eval 'mneme search -C "$mnt" --json heron | grep -q "\"embedders_failing\": 1"'
serve "$port"
check embedded_when_it_is_back waits eval 'sync "$mnt/abacus.md" && state abacus.md indexed'
check found_by_meaning finds abacus abacus.md
leaks() { # the key, anywhere but in its file
	cat "/proc/$daemon/cmdline" "$work/daemon.log" "$mnt/.mneme/"{stats,metrics,status,config} | grep -q "$key" ||
		grep -rq "$key" "$store"
}
check key_is_nowhere eval '! leaks'
store_unmount
echo wrong >"$work/key"
store_mount "$options"
echo 'Bread.' >"$mnt/bread.md"
check wrong_key_is_said eval 'sync "$mnt/bread.md"; state bread.md "error: *401*" && ! grep -rq wrong "$mnt/.mneme/status" "$work/daemon.log"'
store_unmount
refused() { says_no "$1" timeout 20 mnemefs "$store" "$mnt" -f -o "$2"; }
check key_as_an_option refused 'everybody could read it' 'embedder=http,embedder_url=http://127.0.0.1:1,embedder_key=abc'
check http_without_a_url refused 'wants embedder_url=' embedder=http
check unknown_kind refused 'say builtin, hash, http, command or none' embedder=magic
check key_file_that_is_not_there refused 'cannot read the key file' "embedder_url=http://127.0.0.1:1,embedder_key_file=/nonexistent"
check other_dimension refused 'with 6 dimensions, and 7 are asked for' "$options,embedder_dim=7,embedder_key_file=$work/key"

kill $server
wait $server 2>/dev/null

# ---- llama.cpp's server ----
# LLAMA_SERVER is a command that runs it; its model is made here and embeds words it knows, letters else.
llama=${LLAMA_SERVER:-$(command -v llama-server)}
if [ -z "$llama" ]; then
	echo "skipped: llama: llama-server is not installed (Debian's llama.cpp-tools, from 14 on; or set LLAMA_SERVER)"
	finish
fi
rm -r "$store"
store_new
python3 "$(dirname "$0")/gguf.py" "$work/words.gguf"
llama_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# 256 tokens a text at most: what is longer is refused.
# shellcheck disable=SC2086 # a command with its arguments
$llama --embeddings -m "$work/words.gguf" --host 127.0.0.1 --port "$llama_port" \
	-t 1 -c 256 -b 256 -ub 256 --api-key "$key" >"$work/llama.log" 2>&1 3>&- &
server=$!
waits curl -sf "http://127.0.0.1:$llama_port/health" || { cat "$work/llama.log"; fatal "llama-server"; }
echo "$key" >"$work/key"
store_mount "embedder=http,embedder_url=http://127.0.0.1:$llama_port/v1,embedder_model=words,embedder_key_file=$work/key"
mkdir "$mnt/notes"
for i in $(seq 40); do
	echo "Number $i lends $([ $((i % 8)) = 0 ] && echo 'the heron stones' || echo 'bread of a train')." >"$mnt/notes/$i.md"
done
check llama_embeds eval 'sync "$mnt" && state notes/16.md indexed && state notes/40.md indexed'
check llama_dimension test "$(getfattr --only-values -n user.mneme.dim "$mnt/notes/16.md")" = 64
near_to_herons() { # the five notes with herons, before any other
	mneme search -C "$mnt" -n 5 --grep 'heron stones mode:vector' | cut -d : -f 1 | sed 's,.*/,,' | sort >"$work/answer"
	cat "$work/answer"
	printf '%s.md\n' 8 16 24 32 40 | sort | diff - "$work/answer"
}
check llama_finds near_to_herons
for i in $(seq 60); do printf 'xq%dzv ' $i$i$i$i$i; done >"$mnt/notes/letters.md"
echo 'The abacus counts.' >"$mnt/notes/abacus.md"
check llama_refuses_one eval 'sync "$mnt"; state notes/letters.md "error: *"'
check llama_takes_the_others eval 'waits state notes/abacus.md indexed && finds "the abacus" notes/abacus.md'
check llama_words_of_the_refused eval 'mneme search -C "$mnt" --grep xq11111zv | grep -q letters.md'
store_unmount
finish
