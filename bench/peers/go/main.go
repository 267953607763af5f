// The no-op job as the Go package `worker` does it, for chargehand-bench: JSON over
// golang.org/x/net/websocket, one height at a time on each connection. Written from the facts about
// that package: for every height, the manager builds a select over the channels of all workers.
//
//	peer worker                                       says its address, serves until its input ends
//	peer manager ADDRESS WORKER CONNECTIONS SECONDS   measures, and says what came out
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/websocket"
)

const (
	warmUp      = 200 * time.Millisecond
	firstHeight = 1 << 40
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
	switch {
	case len(os.Args) == 2 && os.Args[1] == "worker":
		worker()
	case len(os.Args) == 6 && os.Args[1] == "manager":
		manager(os.Args[2], os.Args[3], int(number(os.Args[4])), number(os.Args[5]))
	default:
		check(fmt.Errorf("usage: peer worker | peer manager ADDRESS WORKER CONNECTIONS SECONDS"))
	}
}

func worker() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	say(listener.Addr().String())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	check(http.Serve(listener, websocket.Handler(func(conn *websocket.Conn) {
		for {
			var request Request
			if websocket.JSON.Receive(conn, &request) != nil {
				return
			}
			websocket.JSON.Send(conn, Response{Height: request.Height, Success: true})
		}
	})))
}

func manager(address, process string, connections int, seconds float64) {
	var count int64
	channels := make([]chan int64, connections)
	for i := range channels {
		conn, err := websocket.Dial("ws://"+address+"/", "", "http://localhost")
		check(err)
		channels[i] = make(chan int64)
		go ask(conn, channels[i], &count)
	}
	go func() {
		for height := int64(firstHeight); ; height++ {
			cases := make([]reflect.SelectCase, len(channels))
			for i, channel := range channels {
				cases[i] = reflect.SelectCase{
					Dir:  reflect.SelectSend,
					Chan: reflect.ValueOf(channel),
					Send: reflect.ValueOf(height),
				}
			}
			reflect.Select(cases)
		}
	}()
	time.Sleep(warmUp)

	own := strconv.Itoa(os.Getpid())
	begun, from := time.Now(), atomic.LoadInt64(&count)
	cpu := []float64{used(own), used(process)}
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	elapsed, done := time.Since(begun), float64(atomic.LoadInt64(&count)-from)
	say(map[string]float64{
		"rate":    done / elapsed.Seconds(),
		"manager": (used(own) - cpu[0]) / done,
		"worker":  (used(process) - cpu[1]) / done,
	})
}

// One worker's goroutine.
func ask(conn *websocket.Conn, heights <-chan int64, count *int64) {
	for height := range heights {
		var response Response
		check(websocket.JSON.Send(conn, Request{Height: height}))
		check(websocket.JSON.Receive(conn, &response))
		if response.Height != height || !response.Success {
			check(fmt.Errorf("a wrong answer to %d: %v", height, response))
		}
		atomic.AddInt64(count, 1)
	}
}

// Returns the nanoseconds that a process's threads were on a CPU.
func used(process string) float64 {
	threads, err := filepath.Glob("/proc/" + process + "/task/*/schedstat")
	check(err)
	sum := 0.0
	for _, thread := range threads {
		if text, err := os.ReadFile(thread); err == nil {
			sum += number(strings.Fields(string(text))[0])
		}
	}
	return sum
}

func number(text string) float64 {
	value, err := strconv.ParseFloat(text, 64)
	check(err)
	return value
}

func say(what interface{}) {
	check(json.NewEncoder(os.Stdout).Encode(what))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}
