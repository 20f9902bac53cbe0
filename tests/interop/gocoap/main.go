// A device on go-coap that uploads one body in blocks of 1,024 bytes over UDP without security.
// Arguments: the server's address with its port, the path, the length of the body. The code of the
// response is printed. go-coap does not scale its block number when the server asks for smaller
// blocks.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/net/blockwise"
	"github.com/plgd-dev/go-coap/v3/options"
	"github.com/plgd-dev/go-coap/v3/udp"
)

func upload(server, path string, length int) error {
	device, err := udp.Dial(server, options.WithBlockwise(true, blockwise.SZX1024, 10*time.Second))
	if err != nil {
		return err
	}
	defer device.Close()
	limited, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	body := bytes.NewReader(bytes.Repeat([]byte("g"), length))
	response, err := device.Put(limited, path, message.AppOctets, body)
	if err != nil {
		return err
	}
	class := response.Code() >> 5
	fmt.Printf("%d.%02d\n", class, response.Code()&31)
	return nil
}

func main() {
	if len(os.Args) != 4 {
		fmt.Println("address, path and length are missing")
		os.Exit(64)
	}
	length, err := strconv.Atoi(os.Args[3])
	if err == nil {
		err = upload(os.Args[1], os.Args[2], length)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
