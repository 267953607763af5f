// A manager and a worker as the Go package `worker` has them, for the tests next door: JSON over
// golang.org/x/net/websocket, one height at a time on each connection. Written from the facts about
// that package, with the faults that the tests need.
//
//	peer worker  -listen ADDRESS [-faults HEIGHT=KIND,...]
//	peer manager -url URL -connections N   (heights on standard input, one a line)
//
// Both say on standard output what they did, one line each. They end with their standard input.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/websocket"
)

// Request is what a manager sends.
type Request struct {
	Height int64
}

// Response is what a worker answers.
type Response struct {
	Height  int64
	Success bool
	Error   string
}

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("usage: peer worker | manager, and its flags"))
	}
	switch os.Args[1] {
	case "worker":
		worker(os.Args[2:])
	case "manager":
		manager(os.Args[2:])
	default:
		fail(fmt.Errorf("no such role: %s", os.Args[1]))
	}
}

// Says a line, whole whoever else does so at the same time.
func say(format string, values ...interface{}) {
	os.Stdout.WriteString(fmt.Sprintf(format, values...) + "\n")
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "peer:", err)
	os.Exit(1)
}

// The handler's error for a height, or nil. The test has the same texts.
func judge(height int64) error {
	if height%7 != 3 {
		return nil
	}
	return fmt.Errorf("height %d: \"no\" 'block' <b>&amp;</b> é 世界 🦀 \\ /\t\n\u2028 end", height)
}

// Faults of a worker: each happens the first time that its height is asked for.
type faults struct {
	mutex sync.Mutex
	kinds map[int64]string
}

func (f *faults) take(height int64) string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	kind := f.kinds[height]
	delete(f.kinds, height)
	return kind
}

func worker(arguments []string) {
	flags := flag.NewFlagSet("worker", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:0", "")
	list := flags.String("faults", "", "")
	flags.Parse(arguments)

	f := &faults{kinds: map[int64]string{}}
	for _, pair := range strings.FieldsFunc(*list, func(r rune) bool { return r == ',' }) {
		parts := strings.SplitN(pair, "=", 2)
		f.kinds[number(parts[0])] = parts[1]
	}

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		fail(err)
	}
	say("at %s", listener.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	// The plain handler: it wants an Origin, and agrees to a single subprotocol that is offered.
	fail(http.Serve(listener, websocket.Handler(func(conn *websocket.Conn) { loop(conn, f) })))
}

// Receives, handles and sends until the end of the connection. Any other error of receiving panics,
// and the HTTP server closes the connection; an error of sending is ignored.
func loop(conn *websocket.Conn, f *faults) {
	for {
		var request Request
		if err := websocket.JSON.Receive(conn, &request); err == io.EOF {
			return
		} else if err != nil {
			panic(err)
		}
		response := Response{Height: request.Height, Success: true}
		if err := judge(request.Height); err != nil {
			response.Success, response.Error = false, err.Error()
		}
		kind := f.take(request.Height)
		if kind == "" {
			say("did %d", request.Height)
			websocket.JSON.Send(conn, response)
			continue
		}
		say("%s %d", kind, request.Height)
		misbehave(conn, kind, response)
	}
}

func misbehave(conn *websocket.Conn, kind string, response Response) {
	switch kind {
	case "hang":
		select {}
	case "cut":
		websocket.Message.Send(conn, `{"Height":`)
	case "text":
		websocket.Message.Send(conn, "block found")
	case "types":
		websocket.Message.Send(conn, fmt.Sprintf(`{"Height":"%d","Success":"yes"}`, response.Height))
	case "array":
		websocket.JSON.Send(conn, []Response{response})
	case "utf8":
		websocket.Message.Send(conn, "{\"Error\":\"\xff\"}")
	case "other":
		response.Height++
		websocket.JSON.Send(conn, response)
	case "twice":
		websocket.JSON.Send(conn, response)
		websocket.JSON.Send(conn, response)
	case "binary": // No fault by itself: both sides take it.
		encoded, err := json.Marshal(response)
		if err != nil {
			panic(err)
		}
		websocket.Message.Send(conn, encoded)
	default:
		panic("no such fault: " + kind)
	}
}

func number(text string) int64 {
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		fail(err)
	}
	return value
}

func manager(arguments []string) {
	flags := flag.NewFlagSet("manager", flag.ExitOnError)
	url := flags.String("url", "", "")
	connections := flags.Int("connections", 1, "")
	flags.Parse(arguments)

	heights := make(chan int64)
	var workers sync.WaitGroup
	for i := 0; i < *connections; i++ {
		conn, err := dial(*url)
		if err != nil {
			fail(err)
		}
		workers.Add(1)
		go func() {
			defer workers.Done()
			ask(conn, *url, heights)
		}()
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		heights <- number(lines.Text())
	}
	close(heights)
	workers.Wait()
	say("over")
}

func dial(url string) (*websocket.Conn, error) {
	return websocket.Dial(url, "", "http://localhost")
}

// One worker's goroutine: one height at a time. After an error it waits, connects again and drops the
// height that it held.
func ask(conn *websocket.Conn, url string, heights <-chan int64) {
	for height := range heights {
		var response Response
		err := websocket.JSON.Send(conn, Request{Height: height})
		if err == nil {
			err = websocket.JSON.Receive(conn, &response)
		}
		if err != nil {
			say("lost %d %v", height, err)
			time.Sleep(time.Second)
			if conn, err = dial(url); err != nil {
				fail(err)
			}
			continue
		}
		outcome := "done"
		if wanted := judge(height); response.Height != height {
			outcome = "foreign"
		} else if !response.Success {
			outcome = "failed"
			if wanted == nil || wanted.Error() != response.Error {
				outcome = "garbled"
			}
		}
		text, err := json.Marshal(response.Error)
		if err != nil {
			panic(err)
		}
		say("%s %d %s", outcome, height, text)
	}
	conn.Close()
}
