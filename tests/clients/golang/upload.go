// Uploads a picture with the package mime/multipart:
//
//	upload LENGTH URL PICTURE NAME=VALUE...
//
// LENGTH is "known" (Content-Length) or "unknown" (a pipe, sent in chunks). Prints the status, then
// the body.
package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	length, url, picture, fields := os.Args[1], os.Args[2], os.Args[3], os.Args[4:]
	var body io.Reader
	var contentType string
	if length == "known" {
		buffer := new(bytes.Buffer)
		writer := multipart.NewWriter(buffer)
		writeForm(writer, picture, fields)
		body, contentType = buffer, writer.FormDataContentType()
	} else {
		reader, pipe := io.Pipe()
		writer := multipart.NewWriter(pipe)
		go func() {
			writeForm(writer, picture, fields)
			pipe.Close()
		}()
		body, contentType = reader, writer.FormDataContentType()
	}
	response, err := http.Post(url+"/v1/ground", contentType, body)
	check(err)
	defer response.Body.Close()
	fmt.Println(response.StatusCode)
	_, err = io.Copy(os.Stdout, response.Body)
	check(err)
}

func writeForm(writer *multipart.Writer, picture string, fields []string) {
	part, err := writer.CreateFormFile("image", filepath.Base(picture))
	check(err)
	content, err := os.ReadFile(picture)
	check(err)
	_, err = part.Write(content)
	check(err)
	for _, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		check(writer.WriteField(name, value))
	}
	check(writer.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
