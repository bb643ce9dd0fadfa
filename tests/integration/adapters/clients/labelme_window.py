"""Labelme's window, opened as `lexiseg_client.osam` opens it: words are typed, and the button is pressed."""

import os
import sys

from PyQt5 import QtCore, QtWidgets

from lexiseg_client import Client
from lexiseg_client import osam as lexiseg

url, photo, labels = sys.argv[1:]
lexiseg.Lexiseg.client = Client(url)
lexiseg.register(*lexiseg.STANDS_FOR)

from labelme.app import MainWindow  # noqa: E402  # its menus list what osam knows

application = QtWidgets.QApplication(["labelme"])
window = MainWindow(config_overrides={"auto_save": False}, file_or_dir=photo)
window.show()


def ask() -> None:
    window._switch_canvas_mode(edit=False, create_mode="polygon")
    window._ai_text._text_input.setText("sky,building")
    window._submit_ai_prompt(True)
    assert window.save_labels(labels)
    application.exit(0)


QtCore.QTimer.singleShot(0, ask)
os._exit(application.exec_())  # the interpreter's own end frees Qt's objects in any order, and may crash then
